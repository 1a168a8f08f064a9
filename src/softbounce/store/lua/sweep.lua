-- sweep: deletes fields of one hash whose end ("z", ms) has passed; its scan goes on where the last call stopped.
-- effects  a delivery's history and its place in a case go with it. One that left and got no answer ends: as presumed delivered after
--          a day, where nobody reports deliveries, else as unanswered some days after its deadline. An unreadable record is set aside.
--          A generation of `delivered` goes after the dedupe period, an audit entry after its retention
-- returns  how many fields were deleted
-- keys: hash history members deliveries standing meta delivered delivered_before audit schedule cases
--       open_cases damaged notices notice_bodies counters feedback cancels

local options = cjson.decode(ARGV[1]) -- name, count, silence and grace (ms), history, dedupe, cancelled, audit (ms)
-- silence: after it what left counts as delivered, 0 where deliveries are reported; grace: unanswered so long after the deadline

-- include: shared/full_store
-- include: shared/clock
-- include: shared/changes
-- include: shared/record
-- include: shared/history
-- include: shared/letter_bytes
-- include: shared/active
-- include: shared/notice
-- include: shared/case
-- include: shared/set_aside
-- include: shared/feedback

local function clear_count(rid)
  local raw = hget(standing, rid)
  if raw then
    local known = cjson.decode(raw)
    known.m = nil
    hset(standing, rid, cjson.encode(known))
  end
end

-- Tells people and the pipeline of a delivery without an answer; where its merchant never reported an arrival, it is only counted.
local function tell_unanswered(id, record, payload, fields)
  local merchant, channel = text(fields[4]), fields[2]
  if not has_feedback(merchant, channel) then
    count_unanswered(merchant, channel)
    return nil
  end
  record.g = "unanswered\n" .. merchant .. "\n" .. channel .. "\n\n"
  local case = open_case(record.g, id, {
    kind = "unanswered", merchant = merchant, channel = channel, code = "", detail = "", sample = fields[1], rule = "",
  })
  local facts = { code = fields[8], why = "unanswered", case = case, tries = record.a }
  notify("given_up", id, record.a, facts, payload, "")
  return case
end

-- An arrival of the whole message may not have found it: a history names the newest 60 things or so.
local function has_arrived(id, record, fields)
  local reference = "delivered:" .. string.sub(id, 1, 12) .. ":"
  for _, mark in ipairs(hmget(cancels, { reference .. fields[2], reference .. rid_of(id) })) do
    if reaches(mark, text(fields[4]), text(fields[3]), record.f * 1000, options.dedupe) then
      return true
    end
  end
  return false
end

local function end_unanswered(id, record, payload, fields)
  record.e = "unanswered"
  local case = tell_unanswered(id, record, payload, fields)
  remember(id, string.format('"k":"unanswered","a":%d%s}', record.a, case and ',"c":"' .. case .. '"' or ""))
  hset(counters, "unanswered", string.format("%d", (tonumber(hget(counters, "unanswered")) or 0) + 1))
end

-- Ends what left and got no answer in its time. Returns whether it did. A later report still counts. What was only observed never left.
local function end_in_silence(id, record, payload)
  local fields = record.s == "out" and record.j ~= 1 and #id > 12 and parse_payload(payload)
  if not fields then
    return false
  end
  if options.silence > 0 then
    if record.c + options.silence > now then
      return false
    end
    record.e = "presumed"
    if not record.u then
      clear_count(rid_of(id))
    end
    remember(id, string.format('"k":"presumed","a":%d}', record.a))
  else
    if math.max(record.x * 1000, record.c) + options.grace > now and (not record.z or record.z > now) then
      return false
    end
    if has_arrived(id, record, fields) then
      record.e = "delivered"
      notify("recovered", id, "0", { tries = record.a, after = now - record.f * 1000 }, payload, "")
      remember(id, string.format('"k":"delivered","a":%d,"was":"out"}', record.a))
    else
      end_unanswered(id, record, payload, fields)
    end
  end
  record.s, record.z = "ended", now + options.history
  write_record(id, record, payload, "")
  return true
end

local function turn_over()
  local since = tonumber(redis.call("HGET", meta, "delivered_since"))
  if since and now - since < options.dedupe then
    return
  end
  if since then
    redis.call("UNLINK", delivered_before)
    if redis.call("EXISTS", delivered) == 1 then
      redis.call("RENAME", delivered, delivered_before)
    end
    redis.call("HSET", meta, "delivered_before", redis.call("HGET", meta, "delivered") or 0, "delivered", 0)
  end
  redis.call("HSET", meta, "delivered_since", now)
end

if options.name == "deliveries" then
  turn_over()
  redis.call("XTRIM", audit, "MINID", "~", string.format("%d", now - options.audit))
end
local cursor = redis.call("HGET", meta, "cursor_" .. options.name) or "0"
local answer = redis.call("HSCAN", hash, cursor, "COUNT", options.count)
redis.call("HSET", meta, "cursor_" .. options.name, answer[1])
local gone = 0

-- A case that only lists a delivery, as one of a recipient's soft bounces, is named by a line of its history.
local function leave_cases(id)
  local own = '"y":"' .. string.sub(id, 13) .. '"'
  for _, part in ipairs(story_of(string.sub(id, 1, 12))) do
    for line in string.gmatch(string.find(part, '"c":"k_', 1, true) and part or "", "[^\n]+") do
      local case = string.find(line, own, 1, true) and string.match(line, '"c":"(k_%d+)"')
      local known = case and hget(cases, case)
      if known then
        zrem(members, cjson.decode(known).group .. "\n\n" .. id)
      end
    end
  end
end

local function end_of_delivery(id, raw)
  local record, payload = parse_record(raw)
  if record then
    if end_in_silence(id, record, payload) then
      return record.z
    elseif record.z and record.z <= now then
      leave_cases(id)
      forget_history(id)
      if record.g then
        zrem(members, record.g .. "\n\n" .. id)
      end
    end
    return record.z
  elseif payload == "damaged" then
    set_aside(id, raw)
  end
end

for n = 1, #answer[2], 2 do
  local field, value = answer[2][n], answer[2][n + 1]
  local ends
  if options.name == "deliveries" then
    ends = end_of_delivery(field, value)
  else
    ends = end_of(string.sub(value, 1, (string.find(value, "\n", 1, true) or 0) - 1))
  end
  if options.name == "cancels" and not ends then -- a person who cancels does not know the policy's retention
    local made = made_at(value)
    ends = made and made + options.cancelled
  end
  if ends and ends <= now then
    hdel(hash, field)
    gone = gone + 1
    if options.name == "suppressions" and string.find(field, "^[^@]*@$") then -- see shared/causes
      hset(meta, "consent_fields", string.format("%d", (tonumber(hget(meta, "consent_fields")) or 0) - 1))
    end
    if options.name == "dead_letters" then
      add_letter_bytes(-#value)
    end
  end
end
write_changes()
return gone
