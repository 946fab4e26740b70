"""Write the uncertainty map of one test case."""

from diffufuse.evaluate.uncertainty import write_uncertainty
from diffufuse.logs import job_log

with job_log(snakemake.log[0]):
    region = next(iter(snakemake.params.regions))
    write_uncertainty(snakemake.input[0], snakemake.output[0], case=snakemake.wildcards.case, region=region)
