-- record: one delivery as three lines: head, payload, recipients. Needs: deliveries.
-- head      JSON; an absent field means its default. Read and written here only:
--   v  version, 1            s  waiting (default) | leased | out | held | ended
--   a  number of the try that waits or went out, 0 before the first    n  last try the rule allows
--   p, o  tries answered with a provider's fault, with any other       t  token of the newest lease, 0
--   k, kt  strikes, time of the first (s)    c  newest claim (ms)      g  the case that holds it
--   d  due (s)   x  deadline (s)   f, l  first and newest failure (s)  e  how it ended   z  forget at (ms)
--   w  what it waits for     q  sent by a person's word: 1 quiet hours and pauses do not bind, 2 nor the deadline
--   u  1: presumed delivered, or never to be (reset_on: never)
--   r  1: somebody else retries too, said once     h  events it has seen     j  1: this try was never handed over
--   rs  the hash of each recipient, where it is about nobody in particular
--   b  the try that was counted for the caps       y  the message's own deadline (s)
-- payload   JSON array, see core/records.py; never written here      recipients  JSON array, only while needed
local function parse_record(raw)
  if not raw then
    return nil
  end
  local first = string.find(raw, "\n", 1, true)
  local second = string.find(raw, "\n", first + 1, true)
  local record = cjson.decode(string.sub(raw, 1, first - 1))
  record.s = record.s or "waiting"
  record.a = record.a or 0
  record.t = record.t or 0
  return record, string.sub(raw, first + 1, second - 1), string.sub(raw, second + 1)
end

local function read_record(id)
  return parse_record(redis.call("HGET", deliveries, id))
end

local function format_record(record, payload, recipients)
  local state, token = record.s, record.t
  record.s = state ~= "waiting" and state or nil
  record.t = token ~= 0 and token or nil
  local raw = cjson.encode(record) .. "\n" .. payload .. "\n" .. recipients
  record.s, record.t = state, token
  return raw
end

local function write_record(id, record, payload, recipients)
  redis.call("HSET", deliveries, id, format_record(record, payload, recipients))
end
