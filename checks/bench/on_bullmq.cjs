// The job on BullMQ, a job for each event, BullMQ's own delay. NODE_PATH says where bullmq is, BENCH_STORE the socket.
//   node on_bullmq.cjs publish | schedule   events, or "due raw" of retries, a line each, from stdin; prints what it cost
//   node on_bullmq.cjs events | resends     the worker of that queue
// It does what job.py does, but checks fields by hand, knows an e-mail address and a number by a pattern, and has one
// zone for all numbers: no library of all countries' numbers, none of mail addresses.
const crypto = require("node:crypto");
const { Queue, Worker } = require("bullmq");
const IORedis = require("ioredis");

const open = () => new IORedis({ path: process.env.BENCH_STORE, maxRetriesPerRequest: null });
const store = open();
const resends = new Queue("resends", { connection: store });
const ONCE = { removeOnComplete: true, removeOnFail: 1000 };
const DAY = 86400;
const DELAY = Number(process.env.BENCH_DELAY || 0);
const DELAYS = { SMS_EXPIRED: 5400, PROVIDER_ERROR: 120 };
const HELD = new Set(["PLACEHOLDER_ERROR", "SNIPPET_ERROR", "INVALID_CLAIM", "INVALID_SENDER_ERROR"]);
const PERMANENT = /^(BOUNCE_PERMANENT_|INVALID_EMAIL|INVALID_MOBILE)/;
const MAIL = /^[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@(?:[A-Za-z0-9-]{1,63}\.)+[A-Za-z]{2,63}$/;
const NUMBER = /^\+[1-9][0-9]{6,14}$/;
const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;
const hourIn = new Intl.DateTimeFormat("en-GB", { timeZone: "Europe/Berlin", hour: "2-digit", hourCycle: "h23" });
const isText = (value) => typeof value === "string" && value !== "";
const isId = (value) => isText(value) || Number.isInteger(value);

function read(raw) {
  const report = JSON.parse(raw);
  const claim = report.claim, sent = claim.communication, address = sent.recipients[0];
  const has = { MESSAGE_NOT_DELIVERED: true, MESSAGE_DELIVERED: false }[report.type];
  const fine = has !== undefined && !Number.isNaN(Date.parse(report.date)) && UUID.test(report.eventId) && isText(report.source)
    && isId(claim.id) && isId(claim.merchantId) && isText(claim.referenceNumber) && isText(claim.customerNumber)
    && isText(sent.reference) && isText(address)
    && (!has || (isText(sent.error.type) && isText(sent.error.reasonCode) && typeof (sent.error.details || {}) === "object"))
    && ((sent.channel === "EMAIL" && MAIL.test(address)) || (sent.channel === "SMS" && NUMBER.test(address)));
  if (!fine) throw new Error("no report");
  return report;
}

function due(code, channel, now) {
  if (DELAY) return now + DELAY * 1000;
  let moment = now + (DELAYS[code] || 7200) * (800 + 400 * Math.random());
  if (channel === "SMS") {
    const hour = Number(hourIn.format(moment));
    if (hour >= 20) moment += (32 - hour) * 3600e3;
    else if (hour < 8) moment += (8 - hour) * 3600e3;
  }
  return moment;
}

const results = (answers) => answers.map(([error, value]) => { if (error) throw error; return value; });

async function take({ data: { raw } }) {
  let report;
  try { report = read(raw); } catch {
    const id = crypto.createHash("sha256").update(raw).digest("hex").slice(0, 24);
    await store.multi().hset("dead_letters", id, raw).hincrby("counters", "dead_lettered", 1).exec();
    return;
  }
  const claim = report.claim, sent = claim.communication;
  const address = sent.channel === "EMAIL" ? sent.recipients[0].toLowerCase() : sent.recipients[0];
  const rid = crypto.createHmac("sha256", "bench").update(`${sent.channel}:${address}`).digest("hex").slice(0, 18);
  if (!sent.error) {
    results(await store.multi().set(`delivered:${sent.reference}`, 1, "EX", 14 * DAY).hdel("soft_bounces", rid)
      .hincrby("counters", "delivered", 1).exec());
    return;
  }
  const code = sent.error.reasonCode;
  const [isNew, isSuppressed, cancels, hasArrived, tries, softBounces] = results(await store.pipeline()
    .set(`seen:${report.eventId}`, code, "EX", 14 * DAY, "NX").hexists("suppressed", rid)
    .hmget("cancelled", sent.reference, String(claim.id)).exists(`delivered:${sent.reference}`)
    .hget("tries", sent.reference).hget("soft_bounces", rid).exec());
  const now = Date.now(), seconds = Math.floor(now / 1000);
  const write = store.multi();
  let outcome;
  if (!isNew) outcome = "duplicate";
  else if (PERMANENT.test(code)) {
    outcome = "suppressed";
    write.hset("suppressed", rid, `${seconds} ${code} ${report.eventId}`).xadd("notices", "*", "notice", `suppressed ${sent.reference}`);
  } else if (hasArrived) outcome = "ended";
  else if (cancels.some(Boolean)) outcome = "cancelled";
  else if (isSuppressed) outcome = "suppressed";
  else if (HELD.has(code)) {
    outcome = "held";
    write.hset("held", sent.reference, raw).xadd("notices", "*", "notice", `held ${sent.reference}`);
  } else {
    outcome = "scheduled";
    const attempt = Number(tries || 0) + 1;
    await resends.add("resend", { raw, rid, attempt }, { ...ONCE, delay: Math.max(0, Math.round(due(code, sent.channel, now) - now)) });
    write.hset("tries", sent.reference, attempt);
    if (code !== "PROVIDER_ERROR") write.hset("soft_bounces", rid, `${softBounces || ""} ${seconds}`);
  }
  if (outcome !== "duplicate") write.hset("history", sent.reference, `${seconds} ${code} ${sent.error.type} ${outcome} ${report.eventId}`);
  results(await write.hincrby("counters", outcome, 1).exec());
}

async function handOver({ data: { raw, rid, attempt } }) {
  const report = JSON.parse(raw);
  const { communication: sent, ...claim } = report.claim;
  const [isSuppressed, cancels, hasArrived] = results(await store.pipeline().hexists("suppressed", rid)
    .hmget("cancelled", sent.reference, String(claim.id)).exists(`delivered:${sent.reference}`).exec());
  if (isSuppressed || cancels.some(Boolean) || hasArrived) return;
  const id = crypto.createHash("sha1").update(`${sent.reference} ${attempt}`).digest("hex");
  const command = {
    type: "resend", version: 1, id, reference: sent.reference, channel: sent.channel, recipients: sent.recipients, claim, attempt,
    reason: { type: sent.error.type, reasonCode: sent.error.reasonCode }, firstFailedAt: report.date, dueAt: new Date().toISOString(),
  };
  results(await store.multi().xadd("resend", "*", "id", id, "command", JSON.stringify(command))
    .hset("history", `${sent.reference} ${attempt}`, `${Math.floor(Date.now() / 1000)} handed over`).exec());
}

async function load(mode) {
  const lines = require("node:fs").readFileSync(0, "utf8").split("\n").filter(Boolean);
  const events = new Queue("events", { connection: store });
  const began = process.hrtime.bigint(), used = process.cpuUsage();
  for (let first = 0; first < lines.length; first += 500) {
    const block = lines.slice(first, first + 500);
    if (mode === "publish") await events.addBulk(block.map((raw) => ({ name: "event", data: { raw }, opts: ONCE })));
    else {
      await resends.addBulk(block.map((line) => {
        const cut = line.indexOf(" ");
        const data = { raw: line.slice(cut + 1), rid: "unknown", attempt: 1 };
        return { name: "resend", data, opts: { ...ONCE, delay: Math.max(0, Number(line.slice(0, cut)) - Date.now()) } };
      }));
    }
  }
  const cpu = process.cpuUsage(used);
  console.log(JSON.stringify({ seconds: Number(process.hrtime.bigint() - began) / 1e9, cpu: (cpu.user + cpu.system) / 1e6 }));
  process.exit(0);
}

const mode = process.argv[2];
if (mode === "publish" || mode === "schedule") load(mode);
else {
  const worker = new Worker(mode, mode === "events" ? take : handOver, { connection: open(), concurrency: 50 });
  worker.on("error", (error) => console.error(error));
  process.on("SIGTERM", () => process.exit(0));
}
