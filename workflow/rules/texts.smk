# The configuration's own texts, checked before Snakemake reads them.
from snakemake.exceptions import WorkflowError

from diffufuse.errors import BadInput
from diffufuse.study.read import check_texts

try:
    check_texts(workflow.configfiles)
except BadInput as error:
    raise WorkflowError(str(error)) from None
