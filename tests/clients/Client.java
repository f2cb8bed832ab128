// java.net.http.WebSocket, of the JDK.
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.WebSocket;
import java.net.http.WebSocketHandshakeException;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CompletionException;
import java.util.concurrent.CompletionStage;
import java.util.concurrent.LinkedBlockingQueue;

public class Client implements WebSocket.Listener {
  private static final String END = "";
  private final List<String> messages = new ArrayList<>();
  private final LinkedBlockingQueue<String> inbox = new LinkedBlockingQueue<>();
  private final StringBuilder part = new StringBuilder();
  private volatile int code = 0;
  private volatile String reason = "";

  @Override public CompletionStage<?> onText(WebSocket socket, CharSequence data, boolean last) {
    part.append(data);
    if (last) {
      inbox.add(part.toString());
      part.setLength(0);
    }
    socket.request(1);
    return null;
  }
  @Override public CompletionStage<?> onClose(WebSocket socket, int status, String why) {
    code = status;
    reason = why;
    inbox.add(END);
    return null;
  }
  @Override public void onError(WebSocket socket, Throwable error) { inbox.add(END); }

  private boolean receive() throws InterruptedException {
    String message = inbox.take();
    if (message.equals(END)) {
      inbox.add(END);
      return false;
    }
    messages.add(message);
    return true;
  }

  private void play(WebSocket socket, List<String[]> steps) throws Exception {
    for (String[] step : steps) {
      String text = step[1];
      switch (step[0]) {
        case "send" -> socket.sendText(text, true).join();
        case "await" -> {
          while (messages.stream().noneMatch(message -> message.contains(text))) {
            if (!receive()) return;
          }
        }
        case "close" -> {
          String[] how = (text + " ").split(" ", 2);
          socket.sendClose(how[0].isEmpty() ? WebSocket.NORMAL_CLOSURE : Integer.parseInt(how[0]), how[1].trim()).join();
          while (receive()) {}
        }
        case "closed" -> {
          while (receive()) {}
        }
        default -> {}
      }
    }
  }

  private static String quoted(String text) {
    return '"' + text.replace("\\", "\\\\").replace("\"", "\\\"") + '"';
  }

  public static void main(String[] arguments) throws Exception {
    var builder = HttpClient.newHttpClient().newWebSocketBuilder();
    List<String[]> steps = new ArrayList<>();
    for (String line : new String(System.in.readAllBytes(), StandardCharsets.UTF_8).split("\n")) {
      int space = line.indexOf(' ');
      String[] step = {space < 0 ? line : line.substring(0, space), space < 0 ? "" : line.substring(space + 1)};
      steps.add(step);
      if (step[0].equals("bearer")) builder.header("Authorization", "Bearer " + step[1]);
      if (step[0].equals("offer")) {
        String[] names = step[1].split(",");
        builder.subprotocols(names[0], java.util.Arrays.copyOfRange(names, 1, names.length));
      }
    }
    Client client = new Client();
    int status = 0;
    String protocol = "";
    try {
      WebSocket socket = builder.buildAsync(URI.create(arguments[0]), client).join();
      protocol = socket.getSubprotocol();
      client.play(socket, steps);
    } catch (CompletionException refused) {
      if (refused.getCause() instanceof WebSocketHandshakeException handshake) status = handshake.getResponse().statusCode();
    }
    var messages = String.join(",", client.messages.stream().map(Client::quoted).toList());
    System.out.println("{\"protocol\":" + quoted(protocol) + ",\"code\":" + client.code + ",\"reason\":" +
                       quoted(client.reason) + ",\"status\":" + status + ",\"messages\":[" + messages + "]}");
    System.exit(0);
  }
}
