package example.trunkline;

import com.google.protobuf.Any;
import com.google.protobuf.InvalidProtocolBufferException;
import com.google.protobuf.Message;
import com.google.rpc.BadRequest;
import com.google.rpc.ErrorInfo;
import com.google.rpc.RetryInfo;
import example.trunkline.v1.CallFailure;
import example.trunkline.v1.ErrorReason;
import io.grpc.Metadata;
import io.grpc.Status;
import java.time.Duration;
import java.util.Arrays;
import java.util.List;
import java.util.Optional;

/** A call that failed: its gRPC status, and the typed details that the gateway gave with it. The cause is gRPC's own exception. */
public final class TrunklineException extends RuntimeException {
    private static final long serialVersionUID = 1;
    private static final String DOMAIN = "trunkline";
    private static final String PREFIX = "ERROR_REASON_";
    private static final Metadata.Key<byte[]> DETAILS =
            Metadata.Key.of("grpc-status-details-bin", Metadata.BINARY_BYTE_MARSHALLER);
    private static final Metadata.Key<String> PUSHBACK =
            Metadata.Key.of("grpc-retry-pushback-ms", Metadata.ASCII_STRING_MARSHALLER);
    private static final Metadata.Key<String> CALL_ID =
            Metadata.Key.of("trunkline-call-id", Metadata.ASCII_STRING_MARSHALLER);

    private final transient Status status;
    private final transient Metadata trailers;
    private final com.google.rpc.Status details;
    private final boolean begun;

    private TrunklineException(Throwable cause, Status status, Metadata trailers, boolean begun) {
        super(status.getDescription(), cause);
        this.status = status;
        this.trailers = trailers;
        this.details = read(trailers);
        this.begun = begun;
    }

    /** What a stub of gRPC's own threw, or gave to {@link io.grpc.stub.StreamObserver#onError}. */
    public static TrunklineException of(Throwable error) {
        return of(error, false);
    }

    /** {@code begun}: a part of the answer has come already. */
    static TrunklineException of(Throwable error, boolean begun) {
        Metadata trailers = Status.trailersFromThrowable(error);
        return new TrunklineException(error, Status.fromThrowable(error), trailers == null ? new Metadata() : trailers, begun);
    }

    /** The answer of this call ended in good order, but without {@code completed}. */
    static TrunklineException interrupted(String callId) {
        Status status = Status.ABORTED.withDescription("the stream ended before the answer was whole");
        String reason = ErrorReason.ERROR_REASON_STREAM_INTERRUPTED.name().substring(PREFIX.length());
        Any info = Any.pack(ErrorInfo.newBuilder().setDomain(DOMAIN).setReason(reason).build());
        Metadata trailers = new Metadata();
        trailers.put(DETAILS, com.google.rpc.Status.newBuilder().addDetails(info).build().toByteArray());
        trailers.put(CALL_ID, callId);
        return new TrunklineException(null, status, trailers, true);
    }

    /** The gRPC status code. */
    public Status.Code code() {
        return status.getCode();
    }

    /** Why. ERROR_REASON_UNSPECIFIED if gRPC itself made the status, UNRECOGNIZED if the gateway is newer than this client. */
    public ErrorReason reason() {
        String name = info().getReason();
        if (name.isEmpty()) {
            return ErrorReason.ERROR_REASON_UNSPECIFIED;
        }
        return Arrays.stream(ErrorReason.values())
                .filter(reason -> reason.name().equals(PREFIX + name))
                .findFirst()
                .orElse(ErrorReason.UNRECOGNIZED);
    }

    /** The gateway's ErrorInfo: the reason as it was sent, and its metadata. Empty if gRPC itself made the status. */
    public ErrorInfo info() {
        return detail(ErrorInfo.getDefaultInstance())
                .filter(info -> info.getDomain().equals(DOMAIN))
                .orElse(ErrorInfo.getDefaultInstance());
    }

    /** How long to wait until another try makes sense, if the gateway says so. */
    public Optional<Duration> retryDelay() {
        return detail(RetryInfo.getDefaultInstance())
                .map(RetryInfo::getRetryDelay)
                .map(delay -> Duration.ofSeconds(delay.getSeconds(), delay.getNanos()));
    }

    /** The request's fields that are wrong, and what would be right. */
    public List<BadRequest.FieldViolation> fieldViolations() {
        return detail(BadRequest.getDefaultInstance()).map(BadRequest::getFieldViolationsList).orElse(List.of());
    }

    /** Set once the call got as far as a target: what happened there, and what it used all the same. */
    public Optional<CallFailure> failure() {
        return detail(CallFailure.getDefaultInstance());
    }

    /** The call's id in the gateway's log. Empty if the call did not get there. */
    public String callId() {
        String id = trailers.get(CALL_ID);
        return id == null ? failure().map(CallFailure::getId).orElse("") : id;
    }

    /**
     * Whether the same call may succeed if it is sent again, and no part of an answer is paid for twice: the code is
     * UNAVAILABLE or there is a {@link #retryDelay}, nothing of the answer has come, and the gateway does not forbid it.
     */
    public boolean isRetryable() {
        String pushback = trailers.get(PUSHBACK);
        boolean forbidden = pushback != null && pushback.startsWith("-");
        return !begun && !forbidden && (code() == Status.Code.UNAVAILABLE || retryDelay().isPresent());
    }

    private static com.google.rpc.Status read(Metadata trailers) {
        byte[] details = trailers.get(DETAILS);
        try {
            return details == null ? com.google.rpc.Status.getDefaultInstance() : com.google.rpc.Status.parseFrom(details);
        } catch (InvalidProtocolBufferException changed) { // by somebody between here and the gateway
            return com.google.rpc.Status.getDefaultInstance();
        }
    }

    /** The detail of this type, if there is one and it can be read. */
    private <T extends Message> Optional<T> detail(T kind) {
        for (Any packed : details.getDetailsList()) {
            if (packed.isSameTypeAs(kind)) {
                try {
                    return Optional.of(packed.unpackSameTypeAs(kind));
                } catch (InvalidProtocolBufferException changed) {
                    return Optional.empty();
                }
            }
        }
        return Optional.empty();
    }
}
