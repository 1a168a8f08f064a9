-- record: one delivery as three lines: head, payload, recipients. Needs: deliveries, changes.
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
local VERSION, EXACT = 1, 2 ^ 53 -- of the numbers that JSON gives back as they were
local TEXTS = { s = true, g = true, e = true, w = true, h = true }
local NEEDED = { waiting = "d", leased = "c", out = "c", held = "g", ended = "z" } -- what a script takes for granted in each state

written_last = deliveries -- it knows the events that it has seen

local function is_number(value)
  return type(value) == "number" and value > -EXACT and value < EXACT
end

local function is_sound(record, payload, recipients)
  if type(record) ~= "table" or string.sub(payload, 1, 1) ~= "[" or not (is_number(record.x) and is_number(record.f)) then
    return false
  end
  for name, value in pairs(record) do
    local kind = type(value)
    if name == "rs" then
      for _, who in ipairs(kind == "table" and value or { 0 }) do
        if type(who) ~= "string" then
          return false
        end
      end
    elseif TEXTS[name] and kind ~= "string" or not TEXTS[name] and not is_number(value) then
      return false
    end
  end
  local state = record.s or "waiting"
  return record[NEEDED[state] or ""] ~= nil and (string.sub(recipients, 1, 1) == "[" or state == "out" or state == "ended")
end

-- Returns the record, its payload and recipients; else nil and why: "newer" (a later release wrote it), "damaged", or nothing.
local function parse_record(raw)
  if not raw then
    return nil
  end
  local first = string.find(raw, "\n", 1, true)
  local second = first and string.find(raw, "\n", first + 1, true)
  local is_json, record = pcall(cjson.decode, string.sub(raw, 1, (first or 0) - 1))
  if is_json and type(record) == "table" and is_number(record.v) and record.v > VERSION then
    return nil, "newer"
  end
  local payload, recipients = second and string.sub(raw, first + 1, second - 1), second and string.sub(raw, second + 1)
  if not (is_json and second and is_sound(record, payload, recipients)) then
    return nil, "damaged"
  end
  record.s = record.s or "waiting"
  record.a = record.a or 0
  record.t = record.t or 0
  return record, payload, recipients
end

local function read_record(id)
  return parse_record(hget(deliveries, id))
end

-- Returns the values of a payload, nil where it is damaged.
local function parse_payload(payload)
  local is_json, fields = pcall(cjson.decode, payload)
  if not is_json or type(fields) ~= "table" or #fields < 10 then
    return nil
  end
  for n = 1, 10 do
    local kind = type(fields[n])
    if kind ~= "string" and (kind ~= "number" or n == 2 or n == 8) then -- channel and code are texts, ids may be either
      return nil
    end
  end
  local extra = fields[11]
  local provider = type(extra) == "table" and extra.provider
  if extra ~= nil and type(extra) ~= "table" or provider and type(provider) ~= "string" or string.find(fields[4], "%c") then
    return nil
  end
  return fields
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
  hset(deliveries, id, format_record(record, payload, recipients))
end
