"""What a digest of code sees, what it is blind to, and that all versions of Python agree on it."""

import importlib.metadata
import json
import shutil
import subprocess
from itertools import pairwise
from pathlib import Path

import pytest

from diffufuse.study import code_digest
from diffufuse.study.code_digest import Code, part_of, registry_entries, version_of
from diffufuse.study.members import REGISTRIES

ROOT = Path(__file__).parents[2]
SOURCES = sorted([*(ROOT / "src").rglob("*.py"), *(ROOT / "workflow" / "scripts").glob("*.py")])
SQUARES = "diffufuse.shapes.SHAPES"

# A small library: a registry of two shapes, one of which needs a helper.
FILES = {
    "__init__.py": '"""The library."""\nKIND = 1\n',
    "helper.py": "def help():\n    return 1\n",
    "unused.py": "X = 1\n",
    "shapes/__init__.py": (
        "from diffufuse.shapes.circle import circle\nfrom diffufuse.shapes.square import square\n\n"
        'SHAPES = {\n    "circle": circle,\n    "square": square,\n}\n\n'
        "def draw(name):\n    return SHAPES[name]()\n"
    ),
    "shapes/circle.py": "from diffufuse.helper import help\n\ndef circle():\n    return help()\n",
    "shapes/square.py": "def square():\n    return 4\n",
    "shapes/pen.py": "WIDTH = 2\n",
}
SCRIPT = "from diffufuse.shapes import draw\n\nprint(draw(snakemake.wildcards.shape))\n"


@pytest.fixture
def library(tmp_path):
    """Write the small library anew, with changes; each time it lies elsewhere."""

    def write(script=SCRIPT, **changes):
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        for name, text in (FILES | changes).items():
            path = folder / "src" / "diffufuse" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        (folder / "draw.py").write_text(script)
        return Code(folder / "src", folder)

    return write


def text_of(source, **narrowed):
    return part_of(source, narrowed).text


@pytest.mark.parametrize(
    "other",
    [
        'def area(r):\n    """Of a circle."""\n    return 3.14 * r ** 2\n',
        "def area(r):  # of a circle\n    # in cm\n    return 3.14 * r ** 2\n",
        "\n\ndef area(\n    r,\n):\n\n    return (3.14\n        * (r ** 2))\n",
        '"""Areas."""\n\ndef area(r):\n    return 3.14 * r ** 2\n',
        'def area(r):\n    "a text without effect"\n    return 3.14 * r ** 2\n',
        '__version__ = "2.0"\n__all__ = ["area"]\ndef area(r):\n    return 3.14 * r ** 2\n',
    ],
    ids=["docstring", "comment", "layout", "module's docstring", "text", "labels"],
)
def test_docstrings_comments_layout_and_labels_do_not_count(other):
    assert text_of(other) == text_of("def area(r):\n    return 3.14 * r ** 2\n")


@pytest.mark.parametrize(
    "other",
    [
        "def area(r):\n    return 3.15 * r ** 2\n",
        "def area(s):\n    return 3.14 * s ** 2\n",
        "def area(r):\n    return 3.14 * (r * 2)\n",
        "@cache\ndef area(r):\n    return 3.14 * r ** 2\n",
        "def area(r):\n    pass\n    return 3.14 * r ** 2\n",
    ],
    ids=["constant", "name", "operator", "decorator", "statement"],
)
def test_all_else_counts(other):
    assert text_of(other) != text_of("def area(r):\n    return 3.14 * r ** 2\n")


def test_a_body_of_nothing_but_a_docstring_stays_a_body():
    assert text_of('class Fault(Exception):\n    """Something."""\n') == text_of("class Fault(Exception):\n    pass\n")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("f'{a}{b}'", "f'{b}{a}'"),
        ("f'{a!r}'", "f'{a!s}'"),
        ("f'{a:.2f}'", "f'{a:.3f}'"),
        ("f'{a:{width}}'", "f'{a:{height}}'"),
        ("f'a{b}'", "f'{b}a'"),
        ("f'a{b}'", "'a{b}'"),
        ("f'{a}'", "str(a)"),
        ("f'{{a}}'", "f'{a}'"),
    ],
)
def test_f_strings_differ_where_they_give_different_texts(one, other):
    assert text_of(one) != text_of(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("f\"{a['b']}\"", "f'''{a[\"b\"]}'''"),
        ("f'a' f'b{c}' 'd'", "f'ab{c}d'"),
        ("'a' 'b'", "'ab'"),
        ('"it\'s"', "'it\\'s'"),
    ],
)
def test_quotes_and_joined_texts_are_layout(one, other):
    assert text_of(one) == text_of(other)


def test_of_a_registry_only_the_members_asked_for_count(library):
    before, edited = library(), library(**{"shapes/square.py": "def square():\n    return 5\n"})
    for shape, same in (("circle", True), ("square", False)):
        chosen = {SQUARES: [shape]}
        assert (before.digest("draw.py", chosen) == edited.digest("draw.py", chosen)) is same
    assert before.digest("draw.py", {SQUARES: None}) != edited.digest("draw.py", {SQUARES: None})


def test_a_member_that_is_not_asked_for_brings_no_imports(library):
    code = library()
    assert "diffufuse.helper" in code.modules("draw.py", {SQUARES: ["circle"]})
    assert "diffufuse.helper" not in code.modules("draw.py", {SQUARES: ["square"]})
    assert code.modules("draw.py", {SQUARES: []}) == ["diffufuse", "diffufuse.shapes"]


def test_neither_the_order_of_a_registry_nor_a_new_member_counts(library):
    registry = FILES["shapes/__init__.py"]
    turned = registry.replace(
        '    "circle": circle,\n    "square": square,\n', '    "square": square,\n    "circle": circle,\n'
    )
    more = registry.replace(
        "\nSHAPES = {\n", 'from diffufuse.shapes.star import star\n\nSHAPES = {\n    "star": star,\n'
    )
    assert len({registry, turned, more}) == 3
    star = {"shapes/star.py": "def star():\n    return 10\n"}
    codes = [library(), library(**{"shapes/__init__.py": turned}), library(**{"shapes/__init__.py": more}, **star)]
    for keys in (["circle"], ["square"], ["circle", "square"], []):
        assert len({code.digest("draw.py", {SQUARES: keys}) for code in codes}) == 1


def test_the_order_of_the_keys_asked_for_does_not_count(library):
    code = library()
    assert code.digest("draw.py", {SQUARES: ["square", "circle"]}) == code.digest(
        "draw.py", {SQUARES: ["circle", "square"]}
    )


def test_a_member_under_another_name_counts(library):
    other = FILES["shapes/__init__.py"].replace('"circle": circle', '"circle": square')
    chosen = {SQUARES: ["circle"]}
    assert library().digest("draw.py", chosen) != library(**{"shapes/__init__.py": other}).digest("draw.py", chosen)


def test_the_registry_s_own_functions_count(library):
    other = FILES["shapes/__init__.py"].replace("SHAPES[name]()", "SHAPES[name]() + 1")
    chosen = {SQUARES: ["circle"]}
    assert library().digest("draw.py", chosen) != library(**{"shapes/__init__.py": other}).digest("draw.py", chosen)


def test_the_init_of_every_package_on_the_way_counts(library):
    script = "from diffufuse.shapes.pen import WIDTH\n"
    before = library(script)
    assert before.modules("draw.py", {SQUARES: None}) == ["diffufuse", "diffufuse.shapes", "diffufuse.shapes.pen"]
    for file, text in (
        ("__init__.py", "KIND = 2\n"),
        ("shapes/__init__.py", FILES["shapes/__init__.py"] + "COLOR = 1\n"),
    ):
        assert library(script, **{file: text}).digest("draw.py", {}) != before.digest("draw.py", {})


def test_a_package_that_only_lies_on_the_way_has_no_members(library):
    script = "from diffufuse.shapes.pen import WIDTH\n"
    edited = library(script, **{"shapes/square.py": "def square():\n    return 5\n"})
    assert edited.digest("draw.py", {SQUARES: None}) == library(script).digest("draw.py", {SQUARES: None})


@pytest.mark.parametrize("first", ["package", "module"])
def test_a_package_counts_in_full_once_it_is_imported_itself_in_whatever_order(library, first):
    lines = ["from diffufuse.shapes.pen import WIDTH\n", "from diffufuse.shapes import draw\n"]
    code = library("".join(lines if first == "module" else reversed(lines)))
    assert "diffufuse.helper" in code.modules("draw.py", {SQUARES: ["circle"]})


@pytest.mark.timeout(20)
def test_an_init_that_imports_its_own_modules_is_no_endless_way(library):
    circle = {"ring/__init__.py": "from diffufuse.ring.a import A\n", "ring/a.py": "from diffufuse.ring.b import B\n"}
    circle |= {"ring/b.py": "from diffufuse.ring import a\nB = 1\n"}
    code = library("from diffufuse.ring.b import B\n", **circle)
    assert code.modules("draw.py", {}) == ["diffufuse", "diffufuse.ring", "diffufuse.ring.a", "diffufuse.ring.b"]


@pytest.mark.parametrize(
    "source",
    [
        "if TYPE_CHECKING:\n    from diffufuse.helper import help\n",
        "if typing.TYPE_CHECKING:\n    from diffufuse.helper import help\n",
        "def f():\n    if TYPE_CHECKING:\n        from diffufuse.helper import help\n",
    ],
)
def test_imports_for_type_checkers_alone_do_not_count(library, source):
    assert not part_of(source, {}).imports
    assert library(source).modules("draw.py", {}) == []


def test_what_runs_where_types_are_not_checked_counts():
    source = "if TYPE_CHECKING:\n    import a\nelse:\n    import b\n"
    assert part_of(source, {}).imports == ("b",)
    assert "import b" in text_of(source)


@pytest.mark.parametrize(
    "source",
    [
        "def f():\n    {}\n",
        "try:\n    {}\nexcept ImportError:\n    pass\n",
        "try:\n    x\nexcept ImportError:\n    {}\n",
        "match x:\n    case 1:\n        {}\n",
        "for x in y:\n    pass\nelse:\n    {}\n",
        "with x:\n    {}\n",
        "class A:\n    def f(self):\n        {}\n",
    ],
)
def test_imports_are_found_at_any_depth(library, source):
    source = source.format("from diffufuse.helper import help")
    assert library(source).modules("draw.py", {}) == ["diffufuse", "diffufuse.helper"]


@pytest.mark.parametrize(
    ("line", "reached"),
    [
        ("import diffufuse.shapes.pen", "diffufuse.shapes.pen"),
        ("import diffufuse.shapes.pen as pen", "diffufuse.shapes.pen"),
        ("from diffufuse.shapes import pen", "diffufuse.shapes.pen"),
        ("from diffufuse import helper", "diffufuse.helper"),
        ("import diffufuse", "diffufuse"),
        ("import numpy, diffufuse.helper", "diffufuse.helper"),
    ],
)
def test_every_form_of_import_is_followed(library, line, reached):
    assert reached in library(line).modules("draw.py", {SQUARES: []})


@pytest.mark.parametrize("line", ["from . import helper", "from .helper import help", "from ..a import b"])
def test_a_relative_import_is_refused(line):
    with pytest.raises(ValueError, match="expected absolute imports"):
        part_of(line, {})


def test_what_is_not_imported_does_not_count(library):
    assert library().digest("draw.py", {}) == library(**{"unused.py": "X = 2\n"}).digest("draw.py", {})


def test_the_script_counts(library):
    assert library().digest("draw.py", {}) != library(SCRIPT + "print(1)\n").digest("draw.py", {})
    assert library().digest("draw.py", {}) == library(SCRIPT + "# nothing\n").digest("draw.py", {})


def test_what_only_shows_how_a_job_goes_does_not_count(library):
    script = "from diffufuse.logs import job_log\n" + SCRIPT
    one, other = (library(script, **{"logs.py": f"LEVEL = {level}\n"}).digest("draw.py", {}) for level in (1, 2))
    assert one == other


def test_each_code_reads_its_files_anew(library):
    code = library()
    before, path = code.digest("draw.py", {}), code.library / "diffufuse" / "helper.py"
    path.write_text("def help():\n    return 2\n")
    assert code.digest("draw.py", {}) == before
    assert Code(code.library, code.scripts).digest("draw.py", {}) != before


@pytest.mark.parametrize(
    ("imports", "versions", "differs"),
    [
        ("import ants", ("0.5.4", "0.6.0"), True),
        ("from torch import nn", ("2.13.0", "2.14.0"), True),
        ("import torch.nn.functional as F", ("2.13.0", "2.14.0"), True),
        ("import torch", ("2.13.0+cpu", "2.13.0+cu129"), False),
        ("import torch", ("2.13.0+cpu", "2.13.1+cpu"), True),
        ("import matplotlib", ("3.9.0", "3.10.0"), False),
    ],
)
def test_the_version_of_a_computing_library_counts_without_its_local_part(
    library, monkeypatch, imports, versions, differs
):
    helper, found = {"helper.py": f"{imports}\n" + FILES["helper.py"]}, []
    for version in versions:
        monkeypatch.setattr(importlib.metadata, "version", lambda name, version=version: version)
        found.append(library(**helper).digest("draw.py", {SQUARES: None}))
    assert (found[0] != found[1]) is differs


def test_the_version_of_a_library_that_is_not_reached_does_not_count(library, monkeypatch):
    found = []
    for version in ("2.13.0", "2.14.0"):
        monkeypatch.setattr(importlib.metadata, "version", lambda name, version=version: version)
        found.append(library(**{"helper.py": "import torch\n"}).digest("draw.py", {SQUARES: ["square"]}))
    assert found[0] == found[1]


def test_a_library_that_is_not_installed_has_a_version_too():
    assert version_of("no-such-distribution") == "absent"
    assert version_of("torch") == importlib.metadata.version("torch").split("+")[0]


def test_computing_libraries_are_distributions_that_are_installed():
    assert "absent" not in {version_of(name) for name in code_digest.COMPUTING.values()}


def test_every_registry_of_the_workflow_is_one_that_can_be_narrowed():
    code = Code(ROOT / "src", ROOT / "workflow" / "scripts")
    for name in REGISTRIES:
        entries = code.registry(name)
        assert entries, name
        module, _, registry = name.rpartition(".")
        source = code.path(module).read_text()
        whole, none = text_of(source), text_of(source, **{registry: []})
        one = {text_of(source, **{registry: [key]}) for key in entries}
        assert whole != none
        assert len(one | {none}) == len(entries) + 1, name


def test_the_entries_of_a_registry_are_read_without_importing_it(tmp_path):
    path = tmp_path / "shapes.py"
    path.write_text('import no_such_module\nSHAPES: dict[str, int] = {"a": 1, "b": no_such_module.b}\n')
    assert list(registry_entries(path, "SHAPES")) == ["a", "b"]
    with pytest.raises(ValueError, match="expected a dictionary COLORS with texts as keys"):
        registry_entries(path, "COLORS")


def test_a_dictionary_with_other_keys_counts_whole():
    for registry in ("A = {1 + 1: a}", 'A = {"a": 1, **others}'):
        assert text_of(registry, A=[]) == text_of(registry)


# Written in every way that versions of Python unparse differently, or might.
HARD = r'''
match point:
    case {"x": x, **rest} if (y := f"{x['a']!r:>{width}}" "tail"):
        pass
    case [1, *_] | Point(x=0):
        pass
try:
    pass
except* ValueError as group:
    raise
with (open("a") as a, open("b") as b):
    pass
async def f(a, /, b=1, *c, d: int = 2, **e) -> None:
    async for x in (i async for i in y if i):
        await x
    return (yield)
def g():
    yield from (*a, *b)
    return lambda x, *y: (x, *y)
values[1:2, ..., ::3], values[(1, 2)], values[a, *b]
x = y = -1 ** 2 if not (a < b <= c) else {**d, "e": 1e300, "f": 1j, "g": b"\x00", "h": "\n\t\u00e9\\"}
z = 'it\'s "so"'
print(f"{a}{'b' + f'{c}'}{{d}} {e=} {f:{g}.{h}f} {i!s:^10}" if False else f"""
{a}""")
@decorated(a=1)
class A(B, metaclass=C):
    x: "int" = 1
    del y
assert a, f"{b}"
global_ = [*a, *(b for b in c)], {a for a in b}, {a: b for a, b in c}
'''

PROGRAM = """
import hashlib, importlib.util, json, sys
specification = importlib.util.spec_from_file_location("code_digest", sys.argv[1])
code_digest = importlib.util.module_from_spec(specification)
sys.modules["code_digest"] = code_digest
specification.loader.exec_module(code_digest)
found = {}
for path in sys.argv[2:]:
    with open(path, encoding="utf-8") as file:
        part = code_digest.part_of(file.read(), {})
    found[path] = hashlib.sha256(repr(part).encode()).hexdigest()
print(json.dumps(found))
"""


def interpreter(version):
    """An interpreter of that version that runs, or None; one installed by pyenv but not chosen does not."""
    installed = sorted((Path.home() / ".pyenv" / "versions").glob(f"{version}.*/bin/python{version}"))
    candidates = [*filter(None, [shutil.which(f"python{version}")]), *map(str, reversed(installed))]
    works = [path for path in candidates if subprocess.run([path, "-c", ""], capture_output=True).returncode == 0]
    return works[0] if works else None


@pytest.fixture(scope="module")
def hard(tmp_path_factory):
    path = tmp_path_factory.mktemp("hard") / "hard.py"
    path.write_text(HARD)
    return path


def told_by(python, paths):
    """The digest of every file, as an interpreter without any package sees it."""
    done = subprocess.run(
        [python, "-I", "-S", "-c", PROGRAM, code_digest.__file__, *map(str, paths)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_all_supported_versions_of_python_give_every_file_the_same_digest(hard):
    found = {version: interpreter(version) for version in ("3.11", "3.12", "3.13")}
    there = {version: python for version, python in found.items() if python}
    if len(there) < 2:
        pytest.skip(f"needs two of Python 3.11, 3.12 and 3.13, found {', '.join(there) or 'none'}")
    told = {version: told_by(python, [*SOURCES, hard]) for version, python in there.items()}
    for one, other in pairwise(told):
        assert [path for path in told[one] if told[one][path] != told[other][path]] == [], (one, other)


def test_no_file_of_ours_has_the_digest_of_another():
    texts = [part_of(path.read_text(), {}).text for path in SOURCES]
    whole = [text for text in texts if text]
    assert len(set(whole)) == len(whole)


def test_a_member_that_is_taken_from_the_package_of_its_registry_counts_although_the_registry_is_narrowed(tmp_path):
    package = tmp_path / "src" / "diffufuse" / "models"
    package.mkdir(parents=True)
    (package.parent / "__init__.py").write_text("")
    (package / "one.py").write_text("class One: pass\n")
    (package / "two.py").write_text("class Two: pass\n")
    imports = "from diffufuse.models.one import One\nfrom diffufuse.models.two import Two\n"
    (package / "__init__.py").write_text(imports + 'MODELS = {"one": One, "two": Two}\n')
    (tmp_path / "script.py").write_text("from diffufuse.models import MODELS, One\n")
    code, members = Code(tmp_path / "src", tmp_path), {"diffufuse.models.MODELS": ["two"]}
    assert {"diffufuse.models.one", "diffufuse.models.two"} <= set(code.modules("script.py", members))
    (tmp_path / "script.py").write_text("from diffufuse.models import MODELS\n")
    code = Code(tmp_path / "src", tmp_path)
    assert "diffufuse.models.one" not in code.modules("script.py", members)
