// A caller as a process of its own: reads orders on stdin and prints what the calls took (the same as asking.py).
import { createInterface } from "node:readline";

export async function followOrders(ask) {
  for await (const line of createInterface({ input: process.stdin })) {
    const { calls, in_flight } = JSON.parse(line);
    process.stdout.write(JSON.stringify(await carryOut(ask, calls, in_flight)) + "\n");
  }
  process.exit(0);
}

async function carryOut(ask, calls, inFlight) {
  let left = calls;
  const seconds = [];
  const failures = [];
  const repeat = async () => {
    while (left-- > 0) {
      const started = performance.now();
      try {
        await ask();
        seconds.push((performance.now() - started) / 1000);
      } catch (error) {
        failures.push(error);
      }
    }
  };
  const started = performance.now();
  await Promise.all(Array.from({ length: inFlight }, repeat));
  if (failures.length) console.error(`${failures.length} of ${calls} calls failed, the first with ${failures[0]}`);
  return { seconds, failed: failures.length, elapsed_s: (performance.now() - started) / 1000 };
}
