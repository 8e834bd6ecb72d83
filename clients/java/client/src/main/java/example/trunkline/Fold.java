package example.trunkline;

import static java.util.stream.Collectors.joining;

import com.google.protobuf.ByteString;
import example.trunkline.v1.GenerateResponse;
import example.trunkline.v1.LogprobToken;
import example.trunkline.v1.Message;
import example.trunkline.v1.Part;
import example.trunkline.v1.PartCompleted;
import example.trunkline.v1.PartDelta;
import example.trunkline.v1.PartStarted;
import example.trunkline.v1.Restarted;
import example.trunkline.v1.Role;
import example.trunkline.v1.StreamGenerateResponse;
import java.util.ArrayList;
import java.util.List;
import java.util.SortedMap;
import java.util.TreeMap;

/** Gathers the events of one stream into its GenerateResponse. */
final class Fold {
    private final SortedMap<Integer, Open> parts = new TreeMap<>();
    private final List<LogprobToken> logprobs = new ArrayList<>();
    private String id = "";
    private boolean begun;
    private GenerateResponse completed;

    /** A part that may go on. */
    private static final class Open {
        final Part.Builder start;
        final List<PartDelta> deltas = new ArrayList<>();

        Open(Part start) {
            this.start = start.toBuilder();
        }
    }

    /** The call's id; empty before the answer has begun. */
    String id() {
        return id;
    }

    /** Whether a part of the answer may have come. */
    boolean isBegun() {
        return begun;
    }

    /** Whether the answer is whole. */
    boolean isCompleted() {
        return completed != null;
    }

    /** Takes the next event; one that is not known changes nothing. {@code restarted} with discard begins anew. */
    void add(StreamGenerateResponse event) {
        begun = begun || !event.hasHeartbeat();
        switch (event.getEventCase()) {
            case STARTED -> id = event.getStarted().getId();
            case PART_STARTED -> start(event.getPartStarted());
            case PART_DELTA -> goOn(event.getPartDelta());
            case PART_COMPLETED -> complete(event.getPartCompleted());
            case RESTARTED -> restart(event.getRestarted());
            case COMPLETED -> completed = event.getCompleted().getResponse();
            default -> {}
        }
    }

    private void start(PartStarted started) {
        parts.put(started.getPartIndex(), new Open(started.getPart()));
    }

    private void goOn(PartDelta delta) {
        parts.get(delta.getPartIndex()).deltas.add(delta);
        logprobs.addAll(delta.getLogprobsList());
    }

    private void complete(PartCompleted part) {
        if (part.hasProviderState()) {
            parts.get(part.getPartIndex()).start.setProviderState(part.getProviderState());
        }
    }

    private void restart(Restarted restarted) {
        if (restarted.getDiscard()) {
            parts.clear();
            logprobs.clear();
        }
    }

    /** The whole answer. Throws IllegalStateException if the stream has not completed: a cut stream has no answer. */
    GenerateResponse response() {
        if (completed == null) {
            throw new IllegalStateException("the answer is not whole: its stream has not come to `completed`");
        }
        if (completed.hasMessage()) { // include_final_message: the logprobs are there, too
            return completed;
        }
        Message.Builder message = Message.newBuilder().setRole(Role.ROLE_ASSISTANT);
        parts.values().forEach(part -> message.addParts(whole(part)));
        return completed.toBuilder().setMessage(message).addAllLogprobs(logprobs).build();
    }

    private static Part whole(Open part) {
        Part.Builder whole = part.start.clone();
        String text = part.deltas.stream().map(Fold::text).collect(joining());
        switch (whole.getDataCase()) {
            case TEXT -> whole.setText(whole.getText() + text);
            case REFUSAL -> whole.setRefusal(whole.getRefusal() + text);
            case REASONING -> whole.getReasoningBuilder().setText(whole.getReasoning().getText() + text);
            case TOOL_CALL -> whole.getToolCallBuilder().setArgumentsJson(whole.getToolCall().getArgumentsJson() + text);
            case PROVIDER_PART -> whole.getProviderPartBuilder().setJson(whole.getProviderPart().getJson() + text);
            case MEDIA -> whole.getMediaBuilder().setData(whole.getMedia().getData().concat(data(part)));
            default -> {}
        }
        part.deltas.forEach(delta -> whole.addAllCitations(delta.getCitationsList()));
        return whole.build();
    }

    private static String text(PartDelta delta) {
        return switch (delta.getDeltaCase()) {
            case TEXT -> delta.getText();
            case REFUSAL -> delta.getRefusal();
            case REASONING_TEXT -> delta.getReasoningText();
            case TOOL_ARGUMENTS_JSON -> delta.getToolArgumentsJson();
            case PROVIDER_JSON -> delta.getProviderJson();
            default -> "";
        };
    }

    private static ByteString data(Open part) {
        return ByteString.copyFrom(part.deltas.stream().map(PartDelta::getMediaData).toList());
    }
}
