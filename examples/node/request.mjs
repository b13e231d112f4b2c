// A plain request from Node, without any library of ours: one message out, one message back.
//
//   npm install nats@2.29.3
//   NATS_URL=nats://127.0.0.1:4222 node request.mjs "Why is the sky blue?"
import { connect, ErrorCode } from "nats";

const timeoutMs = 120_000;
// Wait a little longer than the run may take: the responder's own "timeout" reply says more than silence.
const patienceMs = timeoutMs + 10_000;
const prompt = process.argv[2] ?? "Name one prime number.";
let nats;

try {
  nats = await connect({ servers: process.env.NATS_URL ?? "nats://127.0.0.1:4222" });
  const request = JSON.stringify({ prompt, timeout_ms: timeoutMs });
  const message = await nats.request("claude.cli.execute", request, { timeout: patienceMs });
  const reply = message.json();

  // A failed request is a reply as well: nats.js does not throw, the header tells (NATS ADR-32).
  const failed = message.headers?.get("Nats-Service-Error-Code");
  if (failed) {
    console.error(`${reply.code} (${failed}): ${reply.error}${reply.retryable ? " - may be tried again" : ""}`);
    process.exitCode = 1;
  } else {
    // `result` is what the CLI printed: by default one JSON document, the answer is its own `result`.
    console.log(JSON.parse(reply.result).result);
    console.error(`${reply.responder}, ${reply.execution_time_ms} ms, $${reply.cost_usd ?? "?"}`);
  }
} catch (error) {
  const reasons = {
    [ErrorCode.ConnectionRefused]: "NATS cannot be reached",
    [ErrorCode.NoResponders]: "no responder is running (claude-responder serve)",
    [ErrorCode.Timeout]: `no reply within ${patienceMs} ms`,
  };
  console.error(reasons[error.code] ?? error.message);
  process.exitCode = 1;
} finally {
  await nats?.close();
}
