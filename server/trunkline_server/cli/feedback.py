"""`trunkline feedback`: how good an answer was."""

from typing import Annotated

from typer import Argument

from trunkline_server.cli.connection import PATIENCE, Connection, calling
from trunkline_server.cli.terminal import print_line


@calling
def feedback(
    connection: Connection,
    call_id: Annotated[str, Argument(metavar="CALL", help="The call's id, as answers and `trunkline calls` have it.")],
    metric: Annotated[str, Argument(metavar="METRIC", help="task_success, relevance, human_rating, or your own.")],
    score: Annotated[float, Argument(metavar="SCORE", min=0, max=1, help="From 0 to 1.")],
) -> None:
    """Score a call. The last score of a call and a metric counts."""
    with connection.client(PATIENCE) as client:
        client.feedback(call_id, metric, score)
    print_line(f"{call_id}: {metric} {score:g}")
