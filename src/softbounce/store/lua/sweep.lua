-- sweep: deletes fields of one hash whose end ("z", ms) has passed; its scan goes on where the last call stopped.
-- effects  a delivery's history and its place in a case go with it. Where nobody reports deliveries, one is presumed delivered after a
--          day of silence. An unreadable record is set aside. A generation of `delivered` goes after the dedupe period, an audit
--          entry after its retention
-- returns  how many fields were deleted
-- keys: hash history members deliveries standing meta delivered delivered_before audit schedule cases
--       open_cases damaged notices notice_bodies

local options = cjson.decode(ARGV[1]) -- name, count, silence (ms, 0: deliveries are reported), dedupe, cancelled, audit (ms)

-- include: shared/full_store
-- include: shared/clock
-- include: shared/changes
-- include: shared/record
-- include: shared/history
-- include: shared/letter_bytes
-- include: shared/active
-- include: shared/case
-- include: shared/set_aside

-- Presumes delivered what left a day ago without an answer, where nobody reports deliveries; the recipient's count starts anew.
local function presume_delivered(id, record, payload, to)
  if options.silence == 0 or record.s ~= "out" or record.u or record.c + options.silence > now then
    return
  end
  record.u = 1
  write_record(id, record, payload, to)
  remember(id, string.format('"k":"presumed","a":%d}', record.a))
  local raw = hget(standing, string.sub(id, 13))
  if raw then
    local known = cjson.decode(raw)
    known.m = nil
    hset(standing, string.sub(id, 13), cjson.encode(known))
  end
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
  local record, payload, recipients = parse_record(raw)
  if record then
    if record.z and record.z <= now then
      leave_cases(id)
      forget_history(id)
      if record.g then
        zrem(members, record.g .. "\n\n" .. id)
      end
    else
      presume_delivered(id, record, payload, recipients)
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
    if options.name == "dead_letters" then
      add_letter_bytes(-#value)
    end
  end
end
write_changes()
return gone
