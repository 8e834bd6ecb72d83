"""FeedbackService: scores go into the ledger, under the identity of who asks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from trunkline.v1.feedback_service_pb2 import SubmitFeedbackRequest, SubmitFeedbackResponse
from trunkline.v1.feedback_service_pb2_grpc import FeedbackServiceServicer
from trunkline_server.rpc.edge import IDENTITY

if TYPE_CHECKING:
    from grpc import aio

    from trunkline_server.state.ledger.reports import LedgerReports

    Context = aio.ServicerContext[Any, Any]


class Feedback(FeedbackServiceServicer):
    """Errors are raised as CallError; rpc/edge makes statuses of them."""

    def __init__(self, reports: LedgerReports) -> None:
        self._reports = reports

    async def SubmitFeedback(self, request: SubmitFeedbackRequest, context: Context) -> SubmitFeedbackResponse:
        """Score a call."""
        await self._reports.submit_feedback(request, IDENTITY.get())
        return SubmitFeedbackResponse()
