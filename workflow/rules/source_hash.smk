# The only trick in the house: Snakemake does not see edits of an imported library, so its code becomes a parameter.
import ast
import functools
import hashlib
import itertools
import string
from pathlib import Path

from snakemake.exceptions import WorkflowError


@functools.cache
def module_digest(module):
    """Digest of one library file or folder, blind to comments and layout."""
    root = Path(workflow.basedir, "src/diffufuse", module)
    files = sorted(root.rglob("*.py")) or [
        path for path in (root, root.with_suffix(".py")) if path.is_file()
    ]
    if not files:
        raise WorkflowError(f"source_hash: no library module {module!r}")
    code = "".join(ast.dump(ast.parse(path.read_text())) for path in files)
    return hashlib.sha1(code.encode()).hexdigest()[:12]


def filled_in(module, fields):
    """A module's name with its wildcards filled in, once for every combination of their values."""
    names = sorted({name for _, name, _, _ in string.Formatter().parse(module) if name})
    combinations = itertools.product(*(fields[name] for name in names))
    return [module.format(**dict(zip(names, values))) for values in combinations]


def source_hash(*modules):
    """Make the code of library modules a parameter, so that editing it reruns the rule.

    A module may hold a rule's wildcards, and {architecture}, {corruption}, {source} and {format} as the catalogues name
    them; {learned} stands for every corruption that a model is trained with.
    """

    def digest(wildcards):
        fields = {name: [value] for name, value in dict(wildcards).items()}
        if "model" in fields:
            block = config["models"][trained_as(wildcards.model)]
            learned = [
                config["conditions"][name]["corruption"]
                for name in block["training"]["corruption"]["conditions"]
            ]
            fields |= {"architecture": [block["architecture"]], "learned": learned}
        block = config["conditions"].get(wildcards.get("condition"), {})
        fields["corruption"] = [block["corruption"]] if "corruption" in block else []
        if "dataset" in fields:
            block = config["datasets"][wildcards.dataset]
            fields |= {"source": [block["source"]["kind"]], "format": [block["format"]]}
        named = [name for module in modules for name in filled_in(module, fields)]
        return [module_digest(name) for name in dict.fromkeys(named)]

    return digest
