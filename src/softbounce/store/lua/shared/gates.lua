-- gates: what stops a retry that is due, read for many at once. Nothing is changed here: claim and inspect ask the same gates.
-- A gate returns nil where it lets the retry pass. Else it returns what becomes of the retry (an outcome, held or waiting), until when
-- it waits (ms), why, and for people the field and the entry that say so.
-- needs: suppressions pauses cancels sent modes now hget hmget parse_payload text rid_of end_of made_at is_standing reaches
--        is_any_paused is_any_cancelled keep_wanted options
-- gives: mode_entry retry_of read_gates strikes_of noted times_of is_long each_cap look_at_cap each_pause over_gate
--        suppression_gate recipients_gate deadline_gate crash_loop_gate incident_gate pause_gate cap_gate
local STRIKES, STRIKES_WITHIN = 3, 72 * 3600
local PAUSES, CANCELS = 7, 7 -- fields read of each hash for one retry, in the order below; of the others 2
local paused, cancelled, suppressed, capped = {}, {}, {}, {} -- what the fields hold, for all retries in hand
local pause_fields, cancel_fields, suppression_fields, cap_fields = {}, {}, {}, {} -- their names
local few = { merchant = {}, channel = {}, code = {} } -- names, few for many retries

local function named(kind, value)
  local name = few[kind][value]
  if not name then
    name = kind .. ":" .. value
    few[kind][value] = name
  end
  return name
end

-- A merchant's own mode, else that of all. A merchant that is `on` obeys any later mode of all: who switches all to observe in a
-- hurry means everybody. Off for all is off for each.
local entries_of = {} -- merchant -> its mode's entry, and whose it is
local function mode_entry(merchant)
  local all = entries_of["*"]
  if not all then
    local raw = hget(modes, "*")
    all = { entry = raw and cjson.decode(raw) or { mode = "on", at = 0 }, raw = raw, whose = "*" }
    entries_of["*"] = all
  end
  if not entries_of[merchant] then
    local raw = hget(modes, merchant)
    local own = raw and cjson.decode(raw)
    local is_own = own and all.entry.mode ~= "off" and (own.mode ~= "on" or own.at > all.entry.at)
    entries_of[merchant] = is_own and { entry = own, raw = raw, whose = merchant } or all
  end
  return entries_of[merchant]
end

-- Returns a retry with what the gates need of it; nil where its payload or its recipients are damaged.
local function retry_of(id, record, payload, recipients)
  local fields = parse_payload(payload)
  local retry = fields and {
    id = id, record = record, payload = payload, recipients = recipients, fields = fields, merchant = text(fields[4]),
  }
  return retry and (not record.rs or keep_wanted(retry)) and retry or nil
end

-- Reads what stands against retries, in one command for each hash. The list may hold false.
local function read_gates(retries)
  pause_fields, cancel_fields, suppression_fields, cap_fields = {}, {}, {}, {}
  local count = 0
  for _, retry in ipairs(retries) do
    if retry then
      local fields, merchant = retry.fields, retry.merchant
      local reference, rid = string.sub(retry.id, 1, 12), rid_of(retry.id)
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
  suppressed, capped = hmget(suppressions, suppression_fields), hmget(sent, cap_fields)
end

-- It was delivered, or cancelled. A cancel that names people covers what waited when it was made; one that names a reference or a
-- claim covers what comes later, too.
local function over_gate(retry)
  if not is_any_cancelled then
    return nil
  end
  local at = CANCELS * retry.place
  for n = at + 6, at + 7 do
    if reaches(cancelled[n], retry.merchant, text(retry.fields[3]), retry.record.f * 1000, options.reused) then
      return "delivered", nil, "late receipt", cancel_fields[n], cancelled[n]
    end
  end
  for n = 1, 5 do
    local entry = cancelled[at + n]
    local made = entry and made_at(entry)
    if made and (n <= 2 or made >= retry.record.f * 1000) then
      return "cancelled", nil, "cancelled", cancel_fields[at + n], entry
    end
  end
end

local function is_provisional(entry) -- it was made by an incident, and ends with the incident's undo
  return string.find(entry, '"incident":', 1, true)
end

local function suppression_gate(retry)
  for n = 2 * retry.place + 1, 2 * retry.place + 2 do
    if suppressed[n] and is_standing(suppressed[n]) and not is_provisional(suppressed[n]) then
      return "suppressed", nil, "recipient is suppressed", suppression_fields[n], suppressed[n]
    end
  end
end

-- Of several recipients nobody is left.
local function recipients_gate(retry)
  if retry.ends then
    return retry.ends, nil, "no recipient is left"
  end
end

local function deadline_gate(retry)
  if retry.record.x * 1000 < now and retry.record.q ~= 2 then
    return "given_up", nil, "too_late"
  end
end

local function strikes_of(record)
  local is_old = record.kt and math.floor(now / 1000) - record.kt > STRIKES_WITHIN
  return not is_old and record.k or 0
end

local function crash_loop_gate(retry)
  if retry.record.k and strikes_of(retry.record) >= STRIKES then
    return "held", nil, "crash loop"
  end
end

-- Only an incident's provisional entry refuses the recipient: the retry waits for its end, or for the undo.
local function incident_gate(retry)
  local latest
  for n = 2 * retry.place + 1, 2 * retry.place + 2 do
    if suppressed[n] and is_standing(suppressed[n]) and is_provisional(suppressed[n]) then
      latest = math.max(latest or 0, end_of(suppressed[n]))
    end
  end
  if latest then
    return "waiting", latest, "incident"
  end
end

-- Visits each pause that holds the retry back, with its end.
local function each_pause(retry, visit)
  if not is_any_paused or retry.record.q then
    return
  end
  local function look(field, entry)
    local is_asked = entry and string.find(entry, retry.id, 1, true) -- this retry asks whether a verdict is true
    local ends = entry and not is_asked and end_of(entry)
    if ends and ends > now then
      visit(retry, ends, field, entry)
    end
  end
  for n = PAUSES * retry.place + 1, PAUSES * (retry.place + 1) do
    look(pause_fields[n], paused[n])
  end
  for _, person in ipairs(retry.people or {}) do
    look("recipient:" .. person.rid, person.pause)
  end
end

local function note_pause(retry, ends)
  retry.paused_until = math.max(retry.paused_until or 0, ends)
end

local function pause_gate(retry)
  each_pause(retry, note_pause)
  if retry.paused_until then
    return "waiting", retry.paused_until, "paused"
  end
end

-- A cap counts what left within its time, of one claim and of each recipient.
local noted = {} -- field of sent -> its new value, of what this claim lets leave
local TIME = 11 -- characters of one time, with its comma

local function times_of(raw, cap) -- those that still count (s)
  local times = {}
  for _, time in ipairs(cjson.decode(raw).at) do
    if time * 1000 > now - cap.per then
      times[#times + 1] = time
    end
  end
  return times
end

-- Visits each cap that counts the retry: its field, the cap, what the field holds. A second claim of the same try counts for none.
local function each_cap(retry, visit)
  if retry.record.b == retry.record.a then
    return
  end
  local at = 2 * retry.place
  local by_claim, by_recipient = cap_fields[at + 1], cap_fields[at + 2]
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

-- Notes when one may leave that is over its cap now.
local function look_at_cap(retry, _, cap, raw)
  local times = is_long(raw, cap) and times_of(raw, cap)
  if times and #times >= cap.count then
    retry.free_at = math.max(retry.free_at or 0, times[#times - cap.count + 1] * 1000 + cap.per)
  end
end

local function cap_gate(retry)
  each_cap(retry, look_at_cap)
  if retry.free_at then
    return "waiting", retry.free_at, "rate"
  end
end
