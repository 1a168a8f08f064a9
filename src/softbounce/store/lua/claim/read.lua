-- read: reads due retries. What is no retry any more, or cannot be read, leaves the schedule.
-- needs: schedule deliveries now hmget zrem parse_record set_aside retry_of read_gates mode_entry
-- gives: WORK work mode_of leave_to_newer read_retries
local WORK = 500 -- ordinary retries that one call decides; a longer record, or one to several recipients, counts for more
local ORDINARY = 1000 -- bytes of a record that count as one retry
local EACH = 5 -- recipients that count as one retry
local work = 0 -- in ordinary retries, so far

local function mode_of(merchant)
  return mode_entry(merchant).entry.mode
end

local function leave_to_newer(id) -- a newer release wrote it, and must decide it
  redis.call("ZADD", schedule, now + 60000, id)
end

-- Returns a due retry; false where nothing waits under this name any more.
local function read_retry(id, raw)
  local record, payload, recipients = parse_record(raw)
  if payload == "newer" then
    leave_to_newer(id)
    return false
  elseif record and record.s ~= "waiting" and record.s ~= "leased" or not raw then
    zrem(schedule, id)
    return false
  end
  work = work + math.max(1, #raw / ORDINARY, record and record.rs and #record.rs / EACH or 0)
  local retry = record and retry_of(id, record, payload, recipients)
  if not retry then
    set_aside(id, raw)
  end
  return retry or false
end

-- Returns retries with what their gates need, and false in place of one that waits no more or was scheduled anew since (moved), or
-- is in its queue twice, under two deadlines. It returns fewer than there are ids where these are enough work for one call.
local function read_retries(ids, moved)
  local retries, seen, is_read = {}, 0, {}
  for n, raw in ipairs(hmget(deliveries, ids)) do
    local id = ids[n]
    if seen > 0 and work >= WORK then
      break
    end
    retries[n] = not (moved and moved[n]) and not is_read[id] and read_retry(id, raw)
    seen, is_read[id] = n, true
  end
  read_gates(retries)
  return retries
end
