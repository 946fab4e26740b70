# The only trick in the house: Snakemake does not see edits of an imported library, so its code becomes a parameter.
import ast
import functools
import hashlib
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


def source_hash(*modules):
    """Make the code of library modules a parameter, so that editing it reruns the rule.

    A module may hold a rule's wildcards, and {architecture}, {corruption}, {source} and {format} as the catalogues name them.
    """

    def digest(wildcards):
        fields = dict(wildcards)
        if "model" in fields:
            block = config["models"][fields["model"]]
            block = config["models"].get(block.get("weights_of"), block)
            fields["architecture"] = block["architecture"]
        if "condition" in fields:
            fields["corruption"] = config["conditions"][fields["condition"]].get(
                "corruption", "__init__"
            )
        if "dataset" in fields:
            block = config["datasets"][fields["dataset"]]
            fields |= {"source": block["source"]["kind"], "format": block["format"]}
        return [module_digest(module.format(**fields)) for module in modules]

    return digest
