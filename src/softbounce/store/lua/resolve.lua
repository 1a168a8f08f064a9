-- resolve: closes a case, and decides what becomes of the deliveries that it holds.
-- effects  release: each waits for its time, with its next try; drop: each ends; fixed: exhausted ones stay ended, held ones end.
--          A release brings a damaged record back unchanged, for a version of softbounce that can read it; otherwise it is deleted.
--          One notice "case_resolved". With more members than the limit the case stays open, and the caller must call again ("more")
-- returns  {"done" | "more" | "canary" (one released, still open) | "gone", released, skipped (past the deadline or the last try), ended}
-- keys: schedule deliveries history cases open_cases members notices notice_bodies audit meta brakes damaged

local entry = cjson.decode(ARGV[1]) -- actor, action, what (the case), reason
local options = cjson.decode(ARGV[2]) -- how, canary, even_stale, first (ms), step (ms), limit, max_attempts, and retention periods

-- include: shared/full_store
-- include: shared/clock
-- include: shared/changes
-- include: shared/record
-- include: shared/history
-- include: shared/notice

local raw = hget(cases, entry.what)
local case = raw and cjson.decode(raw)
if not case or case.state == "resolved" then
  return { "gone", 0, 0, 0 }
end
local prefix = case.group .. "\n\n"
local due = options.first
local released, skipped, ended = 0, 0, 0
local batch = redis.call("ZRANGEBYLEX", members, "[" .. prefix, "[" .. prefix .. "\255", "LIMIT", 0, options.limit)
for _, member in ipairs(batch) do
  local id = string.sub(member, #prefix + 1)
  local record, payload, recipients = read_record(id)
  local kept = case.kind == "damaged_record" and hget(damaged, id)
  zrem(members, member)
  if kept then
    local notice = string.match(id, "^notice:(.*)$")
    hdel(damaged, id)
    if options.how ~= "release" then
      forget_history(id)
      ended = ended + 1
    elseif hget(deliveries, id) then -- it was reported again meanwhile, and the new record counts
      skipped = skipped + 1
    elseif notice then
      hset(notice_bodies, notice, kept)
      zadd(notices, now, notice)
      released = released + 1
    else
      hset(deliveries, id, kept)
      zadd(schedule, due, id)
      released = released + 1
    end
  end
  if record and record.s == "held" and record.g == case.group then -- another case may hold it, and this one only list it
    local try = record.j == 1 and record.a or record.a + 1
    if options.how == "release" and try <= options.max_attempts and (options.even_stale or due <= record.x * 1000) then
      record.s, record.a, record.n, record.d = "waiting", try, math.max(record.n or 0, try), math.floor(due / 1000)
      record.g, record.z, record.k, record.kt, record.j = nil, nil, nil, nil, nil
      record.q = options.even_stale and 2 or nil
      zadd(schedule, due, id)
      write_record(id, record, payload, recipients)
      remember(id, string.format('"k":"released","a":%d,"d":%d,"c":"%s"}', record.a, record.d, entry.what))
      due = due + options.step
      released = released + 1
    else
      local outcome = options.how == "suppress" and "suppressed" or "given_up"
      record.s, record.e, record.z, record.g = "ended", outcome, now + options.history, nil
      write_record(id, record, payload, "")
      remember(id, string.format('"k":"%s","a":%d,"n":"case %s: %s"}', outcome, record.a, entry.what, options.how))
      skipped = skipped + (options.how == "release" and 1 or 0)
      ended = ended + (options.how == "release" and 0 or 1)
    end
  end
end
if options.canary and released > 0 then -- one was released; the others wait for its answer
  case.canary = string.sub(batch[1], #prefix + 1)
  hset(cases, entry.what, cjson.encode(case))
  entry.at = now
  xadd(audit, entry)
  write_changes()
  return { "canary", released, skipped, ended }
end
if #batch == options.limit then
  write_changes()
  return { "more", released, skipped, ended }
end
case.state, case.resolved, case.how, case.by, case.z = "resolved", now, options.how, entry.actor, now + options.closed_cases
hdel(open_cases, case.group)
local brake = case.brake and hget(brakes, case.brake)
if brake then -- the incident is over; what a person confirmed counts as usual from now on
  brake = cjson.decode(brake)
  brake.u = options.how == "suppress" and math.max(brake.u or 0, case.suppressed) or brake.u
  brake.w, brake.n, brake.k, brake.t, brake.z = now, 0, nil, nil, now + options.closed_cases
  hset(brakes, case.brake, cjson.encode(brake))
end
entry.recipients = case.settled
hset(cases, entry.what, cjson.encode(case))
notify("case_resolved", entry.what, "0", {
  case = entry.what, how = options.how, kind = case.kind, code = case.code, merchant = case.merchant, channel = case.channel,
}, "[]", "")
entry.at = now
xadd(audit, entry)
write_changes()
return { "done", released, skipped, ended }
