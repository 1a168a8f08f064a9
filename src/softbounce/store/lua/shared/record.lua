-- record: one delivery as three lines: head, payload, recipients. Its id has 12 characters that stand for the message's reference, then
-- the recipient's hash, or "*" and a channel; "~" and a number follow for a further message under one reference.
-- head      JSON; an absent field means its default. Only this file knows the letters:
--   v  version, 1            s  waiting (default) | leased | out | held | ended
--   a  number of the try that waits or went out, 0 before the first    n  last try the rule allows
--   p, o  tries answered with a provider's fault, with any other       t  token of the newest lease, 0
--   k, kt  strikes, time of the first (s)    c  newest claim (ms)      g  the case that holds it
--   d  due (s)   x  deadline (s)   f, l  first and newest failure (s)  e  how it ended   z  forget at (ms)
--   w  what it waits for     q  a person sends it: 1 despite quiet hours and pauses, 2 despite its deadline as well
--   u  1: its recipient's count stays where it is presumed delivered (reset_on: never)
--   r  1: another system retries too, and a person was told     h  events it has seen     j  1: this try was never handed over
--   rs  the hash of each recipient, where it is about nobody in particular
--   b  the try that was counted for the caps       y  the message's own deadline (s)
--   m  when it ended (s)
-- payload   JSON array, see core/records.py; never written here      recipients  JSON array, only while needed
-- needs: deliveries written_last now hget hset
-- gives: parse_record read_record parse_payload format_record write_record text rid_of agree
local VERSION = 1
local KINDS = { s = "string", g = "string", e = "string", w = "string", h = "string", rs = "table" } -- all other fields are numbers
local NEEDED = { waiting = "d", leased = "c", out = "c", held = "g", ended = "z" } -- the field that scripts rely on in each state
local NO_RECIPIENTS = { out = true, ended = true } -- their recipients were deleted
local type_of = type

written_last = deliveries -- a record names the events that it has seen

local function text(value) -- ids are numbers or texts; Lua writes 1e+15 for a long number
  return type_of(value) == "number" and string.format("%.0f", value) or value
end

local function folded(name) -- systems along the way trim and rewrite ids
  return string.lower(string.match(name, "^%s*{?(.-)}?%s*$"))
end

local function agree(one, other) -- two names of a merchant or a claim, of which one may not be known
  return one == "" or other == "" or one == other or folded(one) == folded(other)
end

local function rid_of(id) -- the hash of the recipient; "*" and a channel where nobody in particular is meant
  return string.match(id, "^[^~]*", 13)
end

local function is_sound(record, payload, recipients)
  for name, value in pairs(record) do
    local kind = type_of(value)
    if kind ~= (KINDS[name] or "number") or kind == "number" and value - value ~= 0 then -- JSON may hold an infinite number
      return false
    end
  end
  for _, who in ipairs(record.rs or {}) do
    if type_of(who) ~= "string" then
      return false
    end
  end
  local state = record.s or "waiting"
  return record.x and record.f and record[NEEDED[state] or 0] and string.sub(payload, 1, 1) == "["
    and (NO_RECIPIENTS[state] or string.sub(recipients, 1, 1) == "[")
end

-- Returns the record, its payload and recipients; else nil and why: "newer" (a later release wrote it), "damaged", or nothing.
local function parse_record(raw)
  if not raw then
    return nil
  end
  local first = string.find(raw, "\n", 1, true)
  local second = first and string.find(raw, "\n", first + 1, true)
  local is_json, record = pcall(cjson.decode, string.sub(raw, 1, (first or 0) - 1))
  if not is_json or type_of(record) ~= "table" then
    return nil, "damaged"
  elseif type_of(record.v) == "number" and record.v > VERSION then
    return nil, "newer" -- in whatever form
  elseif not second then
    return nil, "damaged"
  end
  local payload, recipients = string.sub(raw, first + 1, second - 1), string.sub(raw, second + 1)
  if not is_sound(record, payload, recipients) then
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

local IS_ID = { string = true, number = true }

-- Returns the values of a payload, nil where those that a script reads are damaged.
local function parse_payload(payload)
  local is_json, fields = pcall(cjson.decode, payload)
  if not is_json or type_of(fields) ~= "table" then
    return nil
  end
  local reference, channel, claim, merchant, customer, code, extra =
    fields[1], fields[2], fields[3], fields[4], fields[6], fields[8], fields[11]
  local are_ids = IS_ID[type_of(claim)] and IS_ID[type_of(merchant)] and IS_ID[type_of(customer)]
  local are_texts = type_of(reference) == "string" and type_of(channel) == "string" and type_of(code) == "string"
  local is_provider = extra == nil or type_of(extra) == "table" and (extra.provider == nil or type_of(extra.provider) == "string")
  return are_ids and are_texts and is_provider and not string.find(merchant, "%c") and fields or nil
end

local function format_record(record, payload, recipients)
  local state, token = record.s, record.t
  record.m = state == "ended" and (record.m or math.floor(now / 1000)) or nil
  record.s = state ~= "waiting" and state or nil
  record.t = token ~= 0 and token or nil
  local raw = cjson.encode(record) .. "\n" .. payload .. "\n" .. recipients
  record.s, record.t = state, token
  return raw
end

local function write_record(id, record, payload, recipients)
  hset(deliveries, id, format_record(record, payload, recipients))
end
