package example.trunkline;

import example.trunkline.v1.GatewayServiceGrpc.GatewayServiceBlockingStub;
import example.trunkline.v1.GenerateRequest;
import example.trunkline.v1.GenerateResponse;
import example.trunkline.v1.StreamGenerateResponse;
import io.grpc.Context;
import io.grpc.StatusRuntimeException;
import java.util.Iterator;
import java.util.NoSuchElementException;
import java.util.Spliterator;
import java.util.Spliterators;
import java.util.stream.StreamSupport;

/**
 * An answer as it is made: read it once, by its events ({@code completed} last) or by its {@link #texts}.
 *
 * <p>Reading throws {@link TrunklineException}, also where a stream ends in good order but without {@code completed}: an
 * answer that broke off never looks like a whole one. {@link #close} cancels the call if it still runs, in the gateway and
 * at the provider, too; any thread may do it, and the one that reads then gets CANCELLED.
 */
public final class AnswerStream implements Iterable<StreamGenerateResponse>, AutoCloseable {
    private final Context.CancellableContext scope;
    private final Iterator<StreamGenerateResponse> events;
    private final Fold fold = new Fold();
    private boolean read;

    private AnswerStream(Context.CancellableContext scope, Iterator<StreamGenerateResponse> events) {
        this.scope = scope;
        this.events = events;
    }

    static AnswerStream start(GatewayServiceBlockingStub gateway, GenerateRequest request) {
        Context.CancellableContext scope = Context.current().withCancellation();
        Context caller = scope.attach();
        try {
            return new AnswerStream(scope, gateway.streamGenerate(request));
        } finally {
            scope.detach(caller);
        }
    }

    /** The events. */
    @Override
    public Iterator<StreamGenerateResponse> iterator() {
        if (read) {
            throw new IllegalStateException("an answer is read once");
        }
        read = true;
        return new Events();
    }

    /** The answer's text, piece by piece. */
    public Iterable<String> texts() {
        Spliterator<StreamGenerateResponse> all = Spliterators.spliteratorUnknownSize(iterator(), Spliterator.ORDERED);
        return () -> StreamSupport.stream(all, false).map(Texts::in).filter(text -> !text.isEmpty()).iterator();
    }

    /**
     * The whole answer: the message that the events make, and what {@code completed} says of it.
     *
     * @throws IllegalStateException if the stream was not read to its end: a cut stream has no answer
     */
    public GenerateResponse response() {
        return fold.response();
    }

    /** Cancels the call if it still runs. */
    public void cancel() {
        scope.cancel(null);
    }

    /** As {@link #cancel}. */
    @Override
    public void close() {
        cancel();
    }

    private final class Events implements Iterator<StreamGenerateResponse> {
        @Override
        public boolean hasNext() {
            if (more()) {
                return true;
            }
            cancel();
            if (!fold.isCompleted()) {
                throw TrunklineException.interrupted(fold.id());
            }
            return false;
        }

        @Override
        public StreamGenerateResponse next() {
            if (!hasNext()) {
                throw new NoSuchElementException();
            }
            StreamGenerateResponse event = events.next();
            fold.add(event);
            return event;
        }

        private boolean more() {
            try {
                return events.hasNext();
            } catch (StatusRuntimeException error) {
                cancel();
                throw TrunklineException.of(error, fold.isBegun());
            }
        }
    }
}
