-- sweep: delete fields of one hash whose end has passed; a scan goes on where the last call left it.
-- effects  a delivery takes its history and its place in a case along, and is presumed delivered after a day of silence
--          where nobody reports deliveries; what arrived is forgotten once a generation of it is as old as the dedupe period;
--          the audit is cut off at its age
-- returns  how many fields were deleted
local hash = KEYS[1] -- hash  any whose values carry "z": forget at (ms)
local history = KEYS[2] -- hash  reference -> lines
local members = KEYS[3] -- zset  group, delivery (by name)
local deliveries = KEYS[4] -- hash  delivery -> record
local standing = KEYS[5] -- hash  recipient -> {m: soft bounces, ...}
local meta = KEYS[6] -- hash  now, dead_letter_bytes, cursor of each hash

local delivered = KEYS[7] -- hash  bucket -> entries; see include/delivered
local delivered_before = KEYS[8] -- hash  the generation before

local audit = KEYS[9] -- stream

local options = cjson.decode(ARGV[1]) -- name, count, silence (ms, 0: deliveries are reported), dedupe, cancelled, audit (ms)

-- include: clock
-- include: record
-- include: history
-- include: letter_bytes

-- A day without a word where nobody reports deliveries: presumed delivered, so its recipient starts anew.
local function presume_delivered(id)
  local record, payload, to = read_record(id)
  if record.s ~= "out" or record.u or record.c + options.silence > now then
    return
  end
  record.u = 1
  write_record(id, record, payload, to)
  remember(id, string.format('"k":"presumed","a":%d}', record.a))
  local raw = redis.call("HGET", standing, string.sub(id, 13))
  if raw then
    local known = cjson.decode(raw)
    known.m = nil
    redis.call("HSET", standing, string.sub(id, 13), cjson.encode(known))
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
for n = 1, #answer[2], 2 do
  local field, value = answer[2][n], answer[2][n + 1]
  local head = string.match(value, "^[^\n]*")
  local ends = tonumber(string.match(head, '"z":(%d+)'))
  if options.name == "cancels" and not ends then -- a person's word: who says it does not know the policy
    ends = tonumber(string.match(head, '"a":(%d+)')) + options.cancelled
  end
  if options.name == "deliveries" and options.silence > 0 and string.find(head, '"s":"out"', 1, true) then
    presume_delivered(field)
  end
  if ends and ends <= now then
    redis.call("HDEL", hash, field)
    gone = gone + 1
    if options.name == "dead_letters" then
      add_letter_bytes(-#value)
    end
    if options.name == "deliveries" then
      local lines = redis.call("HGET", history, string.sub(field, 1, 12))
      local newest = lines and (string.match(lines, ".*\n(.*)") or lines) -- "([^\n]*)$" took 0.5 ms
      if newest and string.find(newest, '"y":"' .. string.sub(field, 13) .. '"', 1, true) then
        redis.call("HDEL", history, string.sub(field, 1, 12))
      end
      local group = cjson.decode(head).g
      if group then
        redis.call("ZREM", members, group .. "\n\n" .. field)
      end
    end
  end
end
return gone
