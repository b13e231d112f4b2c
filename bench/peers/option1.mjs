// The main process spawns, Redis pub/sub carries the requests to it: `node option1.mjs serve|ask`.
//
// This is the shape of a plan for job workers that may not spawn; connections are opened for each request as it does.
// Two things differ. The command is started directly, where the plan starts a Node wrapper around it, which would add
// Node's own start. And the connection that publishes a response is closed: the plan leaves it open, which ends after
// ten thousand requests at Redis's limit.
import { spawn } from "node:child_process";
import { createRequire } from "node:module";
import { followOrders } from "./asking.mjs";

const require = createRequire(`${process.env.NODE_PACKAGES}/package.json`);
const { Redis } = require("ioredis");
const { ulid } = require("ulid");

const connect = () => new Redis(process.env.REDIS_URL);

class ClaudeCLIService {
  pendingRequests = new Map();

  async initialize() {
    const redis = connect();
    await redis.subscribe("claude:cli:requests");
    redis.on("message", async (channel, message) => {
      if (channel === "claude:cli:requests") await this.handleRequest(JSON.parse(message));
    });
    console.log("ready");
  }

  async handleRequest(request) {
    try {
      const result = await this.executeClaudeCLI(request.prompt, request.args, request.cwd);
      await this.respond({ id: request.id, success: true, result });
    } catch (error) {
      await this.respond({ id: request.id, success: false, error: error.message });
    }
  }

  async respond(response) {
    const redis = connect();
    await redis.publish("claude:cli:responses", JSON.stringify(response));
    redis.disconnect();
  }

  executeClaudeCLI(prompt, args, cwd) {
    return new Promise((resolve, reject) => {
      const proc = spawn(process.env.COMMAND, args, {
        cwd: cwd || process.cwd(), stdio: ["pipe", "pipe", "pipe"], env: process.env,
      });
      let stdout = "";
      let stderr = "";
      proc.stdout.on("data", (data) => { stdout += data.toString(); });
      proc.stderr.on("data", (data) => { stderr += data.toString(); });
      proc.on("error", (error) => reject(new Error(`Failed to spawn Claude: ${error.message}`)));
      proc.on("close", (code) => {
        if (code !== 0) return reject(new Error(`Claude CLI exited with code ${code}: ${stderr}`));
        resolve(stdout);
      });
      proc.stdin.write(prompt);
      proc.stdin.end();
    });
  }

  requestCLIExecution(prompt, args, cwd) {
    const requestId = ulid();
    return new Promise((resolve, reject) => {
      const timeout = setTimeout(() => {
        this.pendingRequests.delete(requestId);
        reject(new Error("Claude CLI request timeout"));
      }, 60000);
      this.pendingRequests.set(requestId, { resolve, reject, timeout });

      const redis = connect();
      redis.subscribe("claude:cli:responses", (error) => {
        if (!error) return;
        clearTimeout(timeout);
        this.pendingRequests.delete(requestId);
        reject(error);
      });
      redis.on("message", (channel, message) => {
        if (channel !== "claude:cli:responses") return;
        const response = JSON.parse(message);
        if (response.id !== requestId) return;
        const pending = this.pendingRequests.get(requestId);
        if (!pending) return;
        clearTimeout(pending.timeout);
        this.pendingRequests.delete(requestId);
        redis.unsubscribe();
        redis.disconnect();
        if (response.success) pending.resolve(response.result);
        else pending.reject(new Error(response.error));
      });

      const publisher = connect();
      publisher
        .publish("claude:cli:requests", JSON.stringify({ id: requestId, prompt, args, cwd }))
        .then(() => publisher.disconnect());
    });
  }
}

const service = new ClaudeCLIService();
if (process.argv[2] === "serve") await service.initialize();
else await followOrders(() => service.requestCLIExecution("hi", ["-p", "--output-format", "json"]));
