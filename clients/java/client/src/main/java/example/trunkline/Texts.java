package example.trunkline;

import static java.util.stream.Collectors.joining;

import example.trunkline.v1.GenerateRequest;
import example.trunkline.v1.GenerateResponse;
import example.trunkline.v1.Message;
import example.trunkline.v1.Part;
import example.trunkline.v1.Role;
import example.trunkline.v1.StreamGenerateResponse;

/** Text into the contract's messages, and out of them. */
public final class Texts {
    private Texts() {}

    /** All text of an answer. */
    public static String in(GenerateResponse answer) {
        return in(answer.getMessage());
    }

    /** All text of a message. */
    public static String in(Message message) {
        return message.getPartsList().stream().map(Part::getText).collect(joining());
    }

    /** The text that this event adds to the answer; empty if it adds none. */
    public static String in(StreamGenerateResponse event) {
        String more = event.getPartDelta().getText();
        return more.isEmpty() ? event.getPartStarted().getPart().getText() : more;
    }

    /** A message of one text. */
    public static Message message(Role role, String text) {
        return Message.newBuilder().setRole(role).addParts(part(text)).build();
    }

    /** A part that is text. */
    public static Part part(String text) {
        return Part.newBuilder().setText(text).build();
    }

    /** A request for a model's answer to a prompt; {@code toBuilder()} adds to it. */
    public static GenerateRequest request(String model, String prompt) {
        return GenerateRequest.newBuilder().setModel(model).setPrompt(prompt).build();
    }
}
