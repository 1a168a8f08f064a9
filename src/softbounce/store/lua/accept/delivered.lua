-- delivered: remembers what arrived and never failed, so that a late or repeated failure of it starts nothing.
-- A record would take 170 bytes. This takes eight, in a bucket whose name is the first digits of the probe: five of the delivery, one each
-- of its merchant and its claim (0: not named), and the day. A full set of buckets stays, and one eight times as large opens beside it,
-- with names one digit longer. Sweep replaces the older of two generations. A failure meets five bytes of another message, among the
-- some 1,000 that share its buckets, once in a billion times; where merchant and claim are named, once in 70,000 billion.
-- needs: delivered delivered_before meta now hmget hset probes limits
-- gives: look_for_deliveries was_delivered note_delivery write_deliveries
local FILL, FEWEST, MOST = 128, 3, 7 -- entries of a bucket when its set is full; octal digits that name a bucket
local ENTRY, NAME = 8, 5 -- bytes of an entry, and those of them that name the delivery
local PROBE = MOST + ENTRY - 1 -- bytes of a probe, which has no day
local TODAY = math.floor(now / 86400000) % 256
local AGE = math.floor(limits.reused / 86400000) -- days; a byte tells days up to 255

local function digits_for(count) -- of the bucket names, once so many entries are known
  local digits = FEWEST
  while digits < MOST and count >= FILL * 8 ^ digits do
    digits = digits + 1
  end
  return digits
end

local function bucket(n, digits) -- the field of an event's bucket
  local first = (n - 1) * PROBE + 1
  return string.sub(probes, first, first + digits - 1)
end

local function entry_of(n)
  return string.sub(probes, n * PROBE - ENTRY + 2, n * PROBE)
end

local function may_be_one(one, other)
  return one == 0 or other == 0 or one == other
end

-- Returns true where the message is there, "another" where only another one under its reference is; else nil.
local function found_in(entries, entry)
  local name, at, found = string.sub(entry, 1, NAME), 0, nil
  while true do
    at = string.find(entries, name, at + 1, true)
    if not at then
      return found
    elseif (at - 1) % ENTRY == 0 then
      local merchant, claim, day = string.byte(entries, at + NAME, at + NAME + 2)
      local own_merchant, own_claim = string.byte(entry, NAME + 1, NAME + 2)
      if may_be_one(merchant, own_merchant) and may_be_one(claim, own_claim) and (TODAY - day) % 256 <= AGE then
        return true
      end
      found = "another"
    end
  end
end

local counts = redis.call("HMGET", meta, "delivered", "delivered_before")
local open_digits = digits_for(tonumber(counts[1]) or 0) -- of the set of buckets that takes new entries
local hits, buckets, grown, added = {}, {}, {}, 0 -- events found; contents of the open set's buckets; buckets to write

-- Looks for the whole batch at once, with one read for each set of buckets.
local function look_for_deliveries()
  local entries_of = {}
  for n = 1, #probes / PROBE do
    entries_of[n] = entry_of(n)
  end
  for generation, hash in ipairs({ delivered, delivered_before }) do
    local total = tonumber(counts[generation]) or 0
    for digits = FEWEST, total > 0 and digits_for(total) or 0 do
      local fields = {}
      for n = 1, #entries_of do
        fields[n] = bucket(n, digits)
      end
      local is_open = generation == 1 and digits == open_digits
      for n, entries in ipairs(hmget(hash, fields)) do
        hits[n] = hits[n] == true or entries and found_in(entries, entries_of[n]) or hits[n]
        if entries and is_open then
          buckets[fields[n]] = entries
        end
      end
    end
  end
end

local function was_delivered(n)
  if hits[n] ~= true and added > 0 then -- it may have arrived earlier in this batch
    local field = bucket(n, open_digits)
    hits[n] = grown[field] and found_in(buckets[field], entry_of(n)) or hits[n]
  end
  return hits[n]
end

local function note_delivery(n)
  local field = bucket(n, open_digits)
  buckets[field] = (buckets[field] or "") .. entry_of(n) .. string.char(TODAY)
  grown[field] = true
  added = added + 1
end

local function write_deliveries()
  for field in pairs(grown) do
    hset(delivered, field, buckets[field])
  end
  if added > 0 then
    hset(meta, "delivered", string.format("%d", (tonumber(counts[1]) or 0) + added))
  end
end
