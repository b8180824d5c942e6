import sys

sys.path.insert(0, workflow.basedir)  # a checkout needs no installation

from ntkpipe import failures, layout, resources
from ntkpipe.errors import UserError

# Validation comes first: a bad config is one line, exit code 1, and nothing is written.
try:
    PLAN = layout.plan_from(config, workflow.configfiles)
except UserError as error:
    raise WorkflowError(str(error)) from None

layout.use_this_python(workflow.basedir)
RESULTS = PLAN.config.results
CONFIG = str(layout.resolved(PLAN))


onstart:
    try:
        layout.check(PLAN, workflow.configfiles)
        layout.write_resolved(PLAN)
    except UserError as error:
        raise WorkflowError(str(error)) from None


onerror:
    for line in failures.killed(PLAN):
        print(line, file=sys.stderr)


wildcard_constraints:
    study="|".join(PLAN.studies),


def study_of(wildcards):
    return PLAN.studies[wildcards.study]
