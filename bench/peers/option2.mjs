// An HTTP service that spawns, requests signed with HMAC: `node option2.mjs serve|ask`.
//
// This is the shape of a plan for job workers that may not spawn, without its rate limit, which lets loopback through.
// The command is started directly, where the plan starts a Node wrapper around it, which would add Node's own start.
import { spawn } from "node:child_process";
import { createHmac } from "node:crypto";
import { createRequire } from "node:module";
import { followOrders } from "./asking.mjs";

const require = createRequire(`${process.env.NODE_PACKAGES}/package.json`);
const SHARED_SECRET = "a secret of the benchmark";
const PORT = Number(process.env.HTTP_PORT);
const TIMEOUT = 60000;

const sign = (timestamp, payload) =>
  createHmac("sha256", SHARED_SECRET).update(`${timestamp}:${payload}`).digest("hex");

async function serve() {
  const { z } = require("zod");
  const app = require("fastify")({ logger: true });
  const ExecuteRequestSchema = z.object({
    prompt: z.string(),
    args: z.array(z.string()),
    cwd: z.string().optional(),
    timeout: z.number().optional().default(TIMEOUT),
  });

  app.addHook("preHandler", async (request, reply) => {
    const signature = request.headers["x-claude-signature"];
    const timestamp = request.headers["x-claude-timestamp"];
    if (!signature || !timestamp) return reply.code(401).send({ error: "Missing authentication headers" });
    if (Math.abs(Date.now() - parseInt(timestamp)) > 30000) {
      return reply.code(401).send({ error: "Request timestamp too old" });
    }
    if (signature !== sign(timestamp, JSON.stringify(request.body))) {
      return reply.code(401).send({ error: "Invalid signature" });
    }
  });

  app.post("/execute", async (request, reply) => {
    const { prompt, args, cwd, timeout } = ExecuteRequestSchema.parse(request.body);
    try {
      const result = await executeClaudeCLI(prompt, args, cwd, timeout);
      return reply.send({ success: true, result, executionTime: result.duration });
    } catch (error) {
      return reply.code(500).send({ success: false, error: error.message, code: error.code });
    }
  });

  await app.listen({ port: PORT, host: "127.0.0.1" });
  console.log("ready");
}

function executeClaudeCLI(prompt, args, cwd, timeout) {
  const startTime = Date.now();
  return new Promise((resolve, reject) => {
    const proc = spawn(process.env.COMMAND, args, {
      cwd: cwd || process.cwd(), stdio: ["pipe", "pipe", "pipe"], env: process.env,
    });
    let stdout = "";
    let stderr = "";
    let killed = false;
    const timer = setTimeout(() => {
      killed = true;
      proc.kill("SIGTERM");
      setTimeout(() => proc.kill("SIGKILL"), 5000);
    }, timeout);
    proc.stdout.on("data", (data) => { stdout += data.toString(); });
    proc.stderr.on("data", (data) => { stderr += data.toString(); });
    proc.on("error", (error) => {
      clearTimeout(timer);
      reject(new Error(`Failed to spawn Claude: ${error.message}`));
    });
    proc.on("close", (code) => {
      clearTimeout(timer);
      if (killed) return reject(new Error(`Claude CLI timeout after ${timeout}ms`));
      if (code !== 0) return reject(new Error(`Claude CLI exited with code ${code}: ${stderr}`));
      resolve({ output: stdout, duration: Date.now() - startTime });
    });
    proc.stdin.write(prompt);
    proc.stdin.end();
  });
}

async function execute(prompt, args, cwd) {
  const timestamp = Date.now();
  const body = JSON.stringify({ prompt, args, cwd, timeout: TIMEOUT });
  const response = await fetch(`http://127.0.0.1:${PORT}/execute`, {
    method: "POST",
    headers: {
      "Content-Type": "application/json",
      "X-Claude-Signature": sign(timestamp, body),
      "X-Claude-Timestamp": timestamp.toString(),
    },
    body,
    signal: AbortSignal.timeout(TIMEOUT + 5000),
  });
  if (!response.ok) throw new Error(`Claude service error: ${(await response.json()).error || response.statusText}`);
  const result = await response.json();
  if (!result.success) throw new Error(`Claude execution failed: ${result.error}`);
  return result.result;
}

if (process.argv[2] === "serve") await serve();
else await followOrders(() => execute("hi", ["-p", "--output-format", "json"]));
