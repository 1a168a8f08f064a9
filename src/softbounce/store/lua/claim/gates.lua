-- gates: what stops a retry that is due, read for many at once.
-- needs: schedule deliveries suppressions pauses cancels sent modes now hget hmget hset zrem parse_record parse_payload
--        set_aside end_of made_at is_standing is_any_paused is_any_cancelled keep_wanted options
-- gives: text WORK work star mode_of leave_to_newer read_retries paused_until is_over is_suppressed provisional_until each_cap
--        look_at_cap note_sent write_sent
local function text(value) -- ids are numbers or texts; Lua writes 1e+15 for a long number
  return type(value) == "number" and string.format("%.0f", value) or value
end

local WORK = 500 -- of one call, in ordinary retries: a longer record, or one to several, counts for more
local ORDINARY = 1000 -- bytes of a record that are the work of one retry
local EACH = 5 -- recipients of one retry that are the work of another
local work = 0 -- done so far
local PAUSES, CANCELS = 7, 7 -- fields read of each hash for one retry, in the order below; of the others 2
local paused, cancelled, suppressed, capped = {}, {}, {}, {} -- what they hold, for all retries in hand
local caps = {} -- fields of sent, by which they are capped
local few = { merchant = {}, channel = {}, code = {} } -- names, few for many retries

local function named(kind, value)
  local name = few[kind][value]
  if not name then
    name = kind .. ":" .. value
    few[kind][value] = name
  end
  return name
end

-- A merchant's own mode, else that of all. One that is on is bound again by any later mode of all: observe in a hurry means everybody.
local modes_of = {}
local star = hget(modes, "*")
star = star and cjson.decode(star) or { mode = "on", at = 0 }
local function mode_of(merchant)
  if not modes_of[merchant] then
    local raw = hget(modes, merchant)
    local own = raw and cjson.decode(raw)
    modes_of[merchant] = own and (own.mode ~= "on" or own.at > star.at) and own.mode or star.mode
  end
  return modes_of[merchant]
end

local function leave_to_newer(id) -- a newer release wrote it; that release takes it
  redis.call("ZADD", schedule, now + 60000, id)
end

-- Returns a retry that is due, with its record and the values of its payload; false where nothing waits under this name any more.
local function read_retry(id, raw)
  local record, payload, recipients = parse_record(raw)
  if payload == "newer" then
    leave_to_newer(id)
    return false
  elseif record and record.s ~= "waiting" and record.s ~= "leased" or not raw then
    zrem(schedule, id)
    return false
  end
  local fields = record and parse_payload(payload)
  work = work + math.max(1, #raw / ORDINARY, record and record.rs and #record.rs / EACH or 0)
  local retry = fields and {
    id = id, record = record, payload = payload, recipients = recipients, fields = fields, merchant = text(fields[4]),
  }
  if not retry or record.rs and not keep_wanted(retry) then
    set_aside(id, raw)
    return false
  end
  return retry
end

-- Returns each retry with its record and what stands against it, and false where there is none any more; moved: and where it was
-- scheduled anew while it stood in line, or stands there twice: under another deadline since. Fewer than there are ids, where they
-- are the work of one call.
local function read_retries(ids, moved)
  local retries, seen, is_read = {}, 0, {}
  local pause_fields, cancel_fields, suppression_fields, cap_fields, count = {}, {}, {}, {}, 0
  for n, raw in ipairs(hmget(deliveries, ids)) do
    local id = ids[n]
    if seen > 0 and work >= WORK then
      break
    end
    local retry = not (moved and moved[n]) and not is_read[id] and read_retry(id, raw)
    retries[n], seen, is_read[id] = retry, n, true
    if retry then
      local fields, merchant = retry.fields, retry.merchant
      local reference, rid = string.sub(id, 1, 12), string.sub(id, 13)
      local claim, channel, code = text(fields[3]), fields[2], fields[8]
      local by_claim, by_recipient, by_reference = "claim:" .. claim, "recipient:" .. rid, "reference:" .. reference
      local by_customer, by_merchant = "customer:" .. text(fields[6]), named("merchant", merchant)
      if is_any_paused then
        local at = PAUSES * count
        pause_fields[at + 1], pause_fields[at + 2], pause_fields[at + 3] = by_merchant, named("channel", channel), named("code", code)
        pause_fields[at + 4], pause_fields[at + 5], pause_fields[at + 6] = by_claim, by_customer, by_reference
        pause_fields[at + 7] = by_recipient
      end
      if is_any_cancelled then
        local at = CANCELS * count
        cancel_fields[at + 1], cancel_fields[at + 2], cancel_fields[at + 3] = by_reference, by_claim, by_customer
        cancel_fields[at + 4], cancel_fields[at + 5] = by_merchant, by_recipient
        cancel_fields[at + 6] = "delivered:" .. reference .. ":" .. channel
        cancel_fields[at + 7] = "delivered:" .. reference .. ":" .. rid
      end
      suppression_fields[2 * count + 1], suppression_fields[2 * count + 2] = rid, rid .. "@" .. merchant
      cap_fields[2 * count + 1], cap_fields[2 * count + 2] = by_claim, by_recipient
      retry.place = count
      count = count + 1
    end
  end
  paused, cancelled = hmget(pauses, pause_fields), hmget(cancels, cancel_fields)
  suppressed, capped, caps = hmget(suppressions, suppression_fields), hmget(sent, cap_fields), cap_fields
  return retries
end

local function paused_until(retry)
  if not is_any_paused then
    return nil
  end
  local latest
  local function look(entry)
    local ends = entry and end_of(entry)
    if ends and ends > now and (not latest or ends > latest) then
      latest = ends
    end
  end
  for n = PAUSES * retry.place + 1, PAUSES * (retry.place + 1) do
    look(paused[n])
  end
  for _, person in ipairs(retry.people or {}) do
    look(person.pause)
  end
  return latest
end

-- Returns whether it was delivered, or cancelled. What names people covers what waited when it was made; a reference or a claim
-- covers what comes, too.
local function is_over(retry)
  local at = CANCELS * retry.place
  if is_standing(cancelled[at + 6]) or is_standing(cancelled[at + 7]) then
    return "delivered", "late receipt"
  end
  for n = 1, 5 do
    local entry = cancelled[at + n]
    local made = entry and made_at(entry)
    if made and (n <= 2 or made >= retry.record.f * 1000) then
      return "cancelled", "cancelled"
    end
  end
end

local function is_suppressed(retry)
  return is_standing(suppressed[2 * retry.place + 1]) or is_standing(suppressed[2 * retry.place + 2])
end

-- Where only an incident's provisional entry refuses the recipient: its end. The retry waits until then, or until the undo.
local function provisional_until(retry)
  local latest
  for n = 2 * retry.place + 1, 2 * retry.place + 2 do
    if is_standing(suppressed[n]) then
      if not string.find(suppressed[n], '"incident":', 1, true) then
        return nil
      end
      latest = math.max(latest or 0, end_of(suppressed[n]))
    end
  end
  return latest
end

-- A cap counts what left within its time, of one claim and of each recipient.
local noted = {} -- field of sent -> its new value
local TIME = 11 -- characters of one, with its comma
local FIRST = {} -- the value where nothing else counts, by cap

local function times_of(raw, cap) -- those that still count (s)
  local times = {}
  for _, time in ipairs(cjson.decode(raw).at) do
    if time * 1000 > now - cap.per then
      times[#times + 1] = time
    end
  end
  return times
end

local function each_cap(retry, visit)
  local at = 2 * retry.place
  local by_claim, by_recipient = caps[at + 1], caps[at + 2]
  if by_claim ~= "claim:" then
    visit(retry, by_claim, options.per_claim, noted[by_claim] or capped[at + 1])
  end
  if string.sub(by_recipient, 11, 11) ~= "*" then
    visit(retry, by_recipient, options.per_recipient, noted[by_recipient] or capped[at + 2])
  end
  for _, person in ipairs(retry.people or {}) do
    if person.rid ~= "" then
      local name = "recipient:" .. person.rid
      visit(retry, name, options.per_recipient, noted[name] or person.sent)
    end
  end
end

-- Whether as many may have left as the cap lets: only then are the times read one by one.
local function is_long(raw, cap)
  return raw and #raw >= TIME * cap.count
end

-- Gives the retry the time at which one may leave that is over its cap now.
local function look_at_cap(retry, _, cap, raw)
  local times = is_long(raw, cap) and times_of(raw, cap)
  if times and #times >= cap.count then
    retry.free_at = math.max(retry.free_at or 0, times[#times - cap.count + 1] * 1000 + cap.per)
  end
end

local function note_sent(_, name, cap, raw)
  FIRST[cap] = FIRST[cap] or string.format('{"at":[%d],"z":%d}', math.floor(now / 1000), now + cap.per)
  local times = is_long(raw, cap) and times_of(raw, cap)
  if raw and not times then
    noted[name] = string.sub(raw, 1, string.find(raw, "]", 1, true) - 1) .. string.format(",%d],\"z\":%d}", now / 1000, now + cap.per)
  elseif not times or #times == 0 then
    noted[name] = FIRST[cap]
  else
    table.insert(times, math.floor(now / 1000))
    noted[name] = string.format('{"at":[%s],"z":%d}', table.concat(times, ","), now + cap.per)
  end
end

local function write_sent()
  for name, value in pairs(noted) do
    hset(sent, name, value)
  end
end
