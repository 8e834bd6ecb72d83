package example.trunkline.examples;

import static example.trunkline.examples.Cases.require;

import com.google.gson.JsonObject;
import com.google.gson.JsonParser;
import com.google.protobuf.Message;
import com.google.protobuf.util.JsonFormat;
import com.google.rpc.ErrorInfo;
import example.trunkline.v1.CallFailure;
import example.trunkline.v1.GenerateRequest;
import example.trunkline.v1.GenerateResponse;
import example.trunkline.v1.StreamGenerateResponse;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.Map;

/** Messages that every language reads and writes alike. */
final class Golden {
    private static final Map<String, Message> KINDS = Map.of(
            "trunkline.v1.GenerateRequest", GenerateRequest.getDefaultInstance(),
            "trunkline.v1.GenerateResponse", GenerateResponse.getDefaultInstance(),
            "trunkline.v1.StreamGenerateResponse", StreamGenerateResponse.getDefaultInstance(),
            "google.rpc.Status", com.google.rpc.Status.getDefaultInstance());

    /** So that the types of details are known. */
    private static final JsonFormat.TypeRegistry TYPES = JsonFormat.TypeRegistry.newBuilder()
            .add(ErrorInfo.getDescriptor().getFile().getMessageTypes())
            .add(CallFailure.getDescriptor())
            .build();

    private Golden() {}

    /** A message of a gateway that is newer than this client. */
    static Object unknown() throws IOException {
        byte[] written = Files.readAllBytes(file("unknown.bin"));
        GenerateResponse response = GenerateResponse.parseFrom(written);
        return Map.of(
                "id", response.getId(),
                "finish_reason", response.getFinishReasonValue(),
                "text", response.getMessage().getParts(0).getText(),
                "same_bytes", Arrays.equals(response.toByteArray(), written));
    }

    /** Every golden message as JSON, by name. */
    static JsonObject all() throws IOException {
        JsonObject all = new JsonObject();
        for (var type : JsonParser.parseString(Files.readString(file("types.json"))).getAsJsonObject().entrySet()) {
            String json = reread(type.getKey(), KINDS.get(type.getValue().getAsString()));
            all.add(type.getKey(), JsonParser.parseString(json));
        }
        return all;
    }

    /** The JSON of a message, once both of its files have turned out to be the same message in either format. */
    private static String reread(String name, Message kind) throws IOException {
        Message message = kind.getParserForType().parseFrom(Files.readAllBytes(file(name + ".bin")));
        Message told = parse(kind, Files.readString(file(name + ".json")));
        Message again = parse(kind, print(message));
        require(told.equals(message) && again.equals(message), name + ": not the same message");
        Message resent = kind.getParserForType().parseFrom(told.toByteArray());
        require(resent.equals(message), name + ": not the same message on the wire");
        return print(again);
    }

    private static Message parse(Message kind, String json) throws IOException {
        Message.Builder message = kind.newBuilderForType();
        JsonFormat.parser().usingTypeRegistry(TYPES).merge(json, message);
        return message.build();
    }

    private static String print(Message message) throws IOException {
        return JsonFormat.printer().usingTypeRegistry(TYPES).print(message);
    }

    private static Path file(String name) {
        return Where.GOLDEN.resolve(name);
    }
}
