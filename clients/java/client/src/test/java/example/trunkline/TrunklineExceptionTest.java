package example.trunkline;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.google.protobuf.Any;
import com.google.protobuf.Message;
import com.google.rpc.BadRequest;
import com.google.rpc.ErrorInfo;
import com.google.rpc.RetryInfo;
import example.trunkline.v1.CallFailure;
import example.trunkline.v1.ErrorReason;
import io.grpc.Metadata;
import io.grpc.Status;
import java.time.Duration;
import org.junit.jupiter.api.Test;

final class TrunklineExceptionTest {
    private static final Metadata.Key<byte[]> DETAILS =
            Metadata.Key.of("grpc-status-details-bin", Metadata.BINARY_BYTE_MARSHALLER);

    @Test
    void itHasWhatTheGatewaySays() {
        RetryInfo.Builder retry = RetryInfo.newBuilder();
        retry.getRetryDelayBuilder().setSeconds(1).setNanos(500_000_000);
        BadRequest.Builder bad = BadRequest.newBuilder();
        bad.addFieldViolationsBuilder().setField("config.top_p").setDescription("at most 1");
        CallFailure failure = CallFailure.newBuilder().setId("call-1").build();
        TrunklineException error = failed(info("OVERLOADED", "trunkline"), retry.build(), bad.build(), failure);
        assertEquals("said", error.getMessage());
        assertEquals(Status.Code.UNAVAILABLE, error.code());
        assertEquals(ErrorReason.ERROR_REASON_OVERLOADED, error.reason());
        assertEquals(Duration.ofMillis(1500), error.retryDelay().orElseThrow());
        assertEquals("config.top_p", error.fieldViolations().get(0).getField());
        assertEquals("call-1", error.callId());
        assertTrue(error.isRetryable());
    }

    @Test
    void aReasonOfANewerGatewayIsNotRecognizedButThere() {
        TrunklineException error = failed(info("TOO_NEW", "trunkline"));
        assertEquals(ErrorReason.UNRECOGNIZED, error.reason());
        assertEquals("TOO_NEW", error.info().getReason());
    }

    @Test
    void somebodyElsesReasonIsNotOurs() {
        assertEquals(ErrorReason.ERROR_REASON_UNSPECIFIED, failed(info("OVERLOADED", "proxy.example")).reason());
    }

    @Test
    void detailsThatCannotBeReadLeaveTheStatus() {
        Metadata trailers = new Metadata();
        trailers.put(DETAILS, new byte[] {1, 2, 3});
        TrunklineException error = TrunklineException.of(Status.NOT_FOUND.asRuntimeException(trailers));
        assertEquals(Status.Code.NOT_FOUND, error.code());
        assertEquals(ErrorReason.ERROR_REASON_UNSPECIFIED, error.reason());
        Any broken = Any.newBuilder().setTypeUrl("type.googleapis.com/google.rpc.RetryInfo").setValue(Texts.part("x").toByteString()).build();
        trailers.removeAll(DETAILS);
        trailers.put(DETAILS, com.google.rpc.Status.newBuilder().addDetails(broken).build().toByteArray());
        assertTrue(TrunklineException.of(Status.NOT_FOUND.asRuntimeException(trailers)).callId().isEmpty());
    }

    @Test
    void whatMayHaveBeenPaidIsNotToBeAskedForAgain() {
        Metadata trailers = new Metadata();
        trailers.put(Metadata.Key.of("grpc-retry-pushback-ms", Metadata.ASCII_STRING_MARSHALLER), "-1");
        assertFalse(TrunklineException.of(Status.UNAVAILABLE.asRuntimeException(trailers)).isRetryable());
        assertFalse(TrunklineException.of(Status.UNAVAILABLE.asRuntimeException(), true).isRetryable());
        assertTrue(TrunklineException.of(Status.UNAVAILABLE.asRuntimeException()).isRetryable());
    }

    private static ErrorInfo info(String reason, String domain) {
        return ErrorInfo.newBuilder().setReason(reason).setDomain(domain).build();
    }

    private static TrunklineException failed(Message... details) {
        com.google.rpc.Status.Builder status = com.google.rpc.Status.newBuilder();
        for (Message detail : details) {
            status.addDetails(Any.pack(detail));
        }
        Metadata trailers = new Metadata();
        trailers.put(DETAILS, status.build().toByteArray());
        return TrunklineException.of(Status.UNAVAILABLE.withDescription("said").asRuntimeException(trailers));
    }
}
