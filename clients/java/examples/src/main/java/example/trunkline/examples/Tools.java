package example.trunkline.examples;

import example.trunkline.Texts;
import example.trunkline.TrunklineClient;
import example.trunkline.v1.FunctionTool;
import example.trunkline.v1.GenerateRequest;
import example.trunkline.v1.GenerateResponse;
import example.trunkline.v1.Message;
import example.trunkline.v1.Part;
import example.trunkline.v1.Role;
import example.trunkline.v1.Tool;
import example.trunkline.v1.ToolCall;
import example.trunkline.v1.ToolResult;

/** Let the model ask for a tool, and tell it what the tool returned. */
final class Tools {
    private static final Tool WEATHER = Tool.newBuilder()
            .setFunction(FunctionTool.newBuilder()
                    .setName("get_weather")
                    .setDescription("The weather in a city.")
                    .setParametersJsonSchema("{\"type\": \"object\"}"))
            .build();

    private Tools() {}

    /** What the model asked for, and its answer once it knew. */
    record Asked(ToolCall call, String text) {}

    static Asked ask(TrunklineClient client, String model) {
        GenerateRequest question = GenerateRequest.newBuilder()
                .setModel(model)
                .addMessages(Texts.message(Role.ROLE_USER, "What is the weather in Paris?"))
                .addTools(WEATHER)
                .build();
        GenerateResponse asked = client.generate(question);
        ToolCall call = asked.getMessage().getPartsList().stream()
                .filter(Part::hasToolCall)
                .map(Part::getToolCall)
                .findFirst()
                .orElseThrow();
        GenerateRequest told = question.toBuilder().addMessages(asked.getMessage()).addMessages(result(call, "sunny")).build();
        return new Asked(call, Texts.in(client.generate(told)));
    }

    private static Message result(ToolCall call, String text) {
        ToolResult result = ToolResult.newBuilder().setToolCallId(call.getId()).addParts(Texts.part(text)).build();
        return Message.newBuilder()
                .setRole(Role.ROLE_TOOL)
                .addParts(Part.newBuilder().setToolResult(result))
                .build();
    }
}
