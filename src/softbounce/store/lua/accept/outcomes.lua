-- outcomes: the ways in which a failure ends or goes on.
-- needs: schedule suppressions open_cases members now hget hmget zadd zrem notify open_case suppress is_standing limits event
--        rule payload to id record outcome case due
-- gives: group_of case_facts finish_record suppress_recipient hold_for_incident end_suppressed refusal hold give_up
--        schedule_next
local function group_of(kind)
  return kind .. "\n" .. event.m .. "\n" .. event.ch .. "\n" .. event.code .. "\n" .. (event.detail or "")
end

local function case_facts(kind)
  return {
    kind = kind, merchant = event.m, channel = event.ch, code = event.code, detail = event.detail or "",
    rule = rule.name, sample = event.ref, revision = limits.revision,
  }
end

local function finish_record(state, ended)
  zrem(schedule, id)
  if record.g then
    zrem(members, record.g .. "\n\n" .. id)
    record.g = nil
  end
  record.s = state
  record.e = ended
  record.w = nil
  record.z = now + limits.history
end

local function suppress_recipient()
  local term = rule.suppression
  local field = event.rid
  if term.scope == "merchant" and event.m ~= "" then -- where no merchant is named there is but one sender
    field = field .. "@" .. event.m
  end
  local entry = suppress(field, {
    b = event.b, d = event.b and id, -- what an incident's undo goes by
    at = now, z = term.expires and now + term.expires or nil, code = event.code, origin = term.origin, evidence = { event.id },
    revision = limits.revision, rule = rule.name, line = rule.line, channel = event.ch, mask = event.mask, address = event.address,
  }, case_facts)
  return entry.z or 0, entry
end

-- A provisional suppression ends no message: an open incident holds it. Returns whether it does; unsent: the try never left.
local function hold_for_incident(entry, unsent)
  local group = entry.incident and "incident\n\n\n\n" .. entry.b
  if not group or hget(open_cases, group) ~= entry.incident then
    return false
  end
  unsent = unsent or (record.s == "held" and record.j == 1)
  finish_record("held", nil)
  record.g, record.j = group, unsent and 1 or nil
  zadd(members, 0, group .. "\n\n" .. id)
  outcome, case = "held", entry.incident
  return true
end

local function end_suppressed(unsent)
  local ends, entry = suppress_recipient()
  if not hold_for_incident(entry, unsent) then
    finish_record("ended", "suppressed")
    record.j = unsent and 1 or record.j -- an incident's undo may hold it again
    outcome = "suppressed"
  end
  notify("suppressed", id, event.i, { code = event.code, ["until"] = ends, case = entry.incident }, payload, to)
end

-- The entry that refuses this recipient: an ordinary one first, and a provisional one only where no other stands.
local function refusal()
  local found = false
  for _, raw in ipairs(hmget(suppressions, { event.rid, event.rid .. "@" .. event.m })) do
    if is_standing(raw) and (not found or found.incident) then
      found = cjson.decode(raw)
    end
  end
  return found
end

local function hold(kind)
  finish_record("held", nil)
  record.g = group_of(kind)
  case = open_case(record.g, id, case_facts(kind))
  outcome = "held"
  notify("held", id, event.i, { code = event.code, case = case, deadline = record.x * 1000 }, payload, to)
end

local function give_up(why, with_case)
  finish_record("ended", "given_up")
  outcome = "given_up"
  if with_case then
    record.g = group_of("exhausted")
    case = open_case(record.g, id, case_facts("exhausted"))
  end
  notify("given_up", id, record.a, { code = event.code, why = why, case = case, tries = record.a }, payload, to)
end

local function exhaust(why)
  if rule["then"] == "suppress" and event.counts and why == "retries_used_up" then -- a deadline says nothing of the recipient
    end_suppressed(false)
  else
    give_up(why, rule["then"] ~= "drop") -- nobody in particular is never suppressed: a person looks
  end
end

local function schedule_next()
  local done = record[rule.kind] or 0 -- tries answered with a fault of the same kind
  local dues = event.dues or {}
  if record.a >= limits.max_attempts or done >= #dues then
    return exhaust("retries_used_up")
  end
  local next_due = math.max(dues[done + 1], now + limits.min_delay)
  if next_due > record.x * 1000 then
    return exhaust("too_late")
  end
  due = next_due
  record.s = "waiting"
  record.a = record.a + 1
  record.n = math.min(record.a + #dues - done - 1, limits.max_attempts)
  record.d = math.floor(due / 1000)
  record.w = string.sub(event.quiet or "", done + 1, done + 1) == "1" and "quiet" or nil
  record.e, record.z, record.g, record.k, record.kt, record.q, record.j = nil, nil, nil, nil, nil, nil, nil
  record.u = rule.soft.keeps and 1 or nil
  zadd(schedule, due, id)
  outcome = "scheduled"
end
