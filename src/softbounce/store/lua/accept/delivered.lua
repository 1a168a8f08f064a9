-- delivered: remembers what arrived and never failed, so that a late or repeated failure of it starts nothing.
-- A record would take 170 bytes. This takes six, in a bucket whose name is the first digits of the probe. A full set of buckets stays,
-- and one eight times as large opens beside it, with names one digit longer. Sweep replaces the older of two generations. A failure
-- meets six bytes of another message, among the some 1,000 that share its buckets, once in 280 billion times.
-- needs: delivered delivered_before meta hmget hset probes
-- gives: look_for_deliveries was_delivered note_delivery write_deliveries
local FILL, FEWEST, MOST = 128, 3, 7 -- entries of a bucket when its set is full; octal digits that name a bucket
local ENTRY = 6 -- bytes of an entry
local PROBE = MOST + ENTRY -- bytes of a probe

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
  return string.sub(probes, n * PROBE - ENTRY + 1, n * PROBE)
end

local function holds(entries, entry)
  local at = 0
  repeat
    at = string.find(entries, entry, at + 1, true)
  until not at or (at - 1) % ENTRY == 0
  return at ~= nil
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
        hits[n] = hits[n] or entries and holds(entries, entries_of[n])
        if entries and is_open then
          buckets[fields[n]] = entries
        end
      end
    end
  end
end

local function was_delivered(n)
  if not hits[n] and added > 0 then -- it may have arrived earlier in this batch
    local field = bucket(n, open_digits)
    hits[n] = grown[field] and holds(buckets[field], entry_of(n))
  end
  return hits[n]
end

local function note_delivery(n)
  local field = bucket(n, open_digits)
  buckets[field] = (buckets[field] or "") .. entry_of(n)
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
