-- soft_bounces: what a failure tells about its recipient, and about other systems that resend too.
-- needs: pauses now hget hset hdel notify open_case standing_of add_evidence count_apart group_of case_facts
--        end_suppressed LATE
-- gives: judge_recipient pause_others resume_others escalate look_for_other_retrier
local ANSWERED = 96 * 3600 * 1000 -- ms in which a send is answered: 72 h of validity, and its receipt

-- Counts soft bounces and reports of one recipient. Returns whether this report confirms a suppression.
local function judge_recipient(event)
  local rule = event.rule
  local confirm = not event.is_disproved and event["do"] == "suppress" and rule.confirm
  local soft = event.counts and rule.soft
  if not (soft or confirm) or event.is_repeated then -- a second report of one send proves nothing more
    return false
  end
  local known = standing_of(event.rid)
  local keep, confirmed = 0, false
  if confirm then
    known.c = known.c or {}
    local reports = known.c[event.code] or {}
    add_evidence(reports, event.i, event.at, confirm.within)
    known.c[event.code] = reports
    confirmed = count_apart(reports, confirm.apart) >= confirm.reports
    event.asks = not confirmed
    keep = confirm.within
  end
  if soft and not confirmed then
    known.m = known.m or {}
    add_evidence(known.m, soft.count == "messages" and string.sub(event.delivery, 1, 12) or event.i, event.at, soft.within)
    local newest = known.m[#known.m][2]
    if count_apart(known.m, soft.apart) >= soft.escalate_at and (not known.x or newest - known.x > soft.within) then
      known.x = newest
      event.escalated = soft
    end
    keep = math.max(keep, soft.within)
  end
  known.z = math.max(known.z or 0, now + keep)
  return confirmed
end

-- While one retry asks whether a verdict is true, nothing else is sent to the recipient. A person's pause stays.
local function pause_others(event)
  local field, ends = "recipient:" .. event.rid, event.due + ANSWERED
  local old = hget(pauses, field)
  old = old and cjson.decode(old)
  if not old or old.by == "policy" and old.z < ends then
    local pause = { z = ends, at = now, by = "policy", reason = "second_report", asks = event.delivery, f = event.at }
    hset(pauses, field, cjson.encode(pause))
  end
end

-- Another answer, or an arrival that is dated (ms) after the verdict, ends that pause.
local function resume_others(rid, delivery, at)
  local field = "recipient:" .. rid
  local pause = hget(pauses, field)
  pause = pause and cjson.decode(pause)
  if pause and pause.reason == "second_report" and (pause.asks == delivery or at and at > pause.f) then
    hdel(pauses, field)
  end
end

local function escalate(event)
  local terms, facts = event.escalated, case_facts(event, "soft_bounces")
  facts.recipient = event.rid
  facts.mask = event.mask
  local group = "soft_bounces\n" .. event.m .. "\n" .. event.ch .. "\n\n" .. event.rid
  event.case = open_case(group, event.delivery, facts)
  if terms["then"] == "hold" then
    local field, ends = "recipient:" .. event.rid, now + terms.hold_for
    local old = hget(pauses, field)
    if not old or cjson.decode(old).z < ends then -- a longer pause, made by a person, stays
      hset(pauses, field, cjson.encode({ z = ends, at = now, by = "policy", reason = "soft_bounces", case = event.case }))
    end
  elseif terms["then"] == "suppress" then
    end_suppressed(event, event.record.s == "waiting")
  end
  notify("escalated", event.rid, event.at, {
    code = event.code, case = event.case, count = terms.escalate_at, within = terms.within, ["then"] = terms["then"],
    recipient = event.mask,
  }, event.payload, event.recipients)
end

-- Two failures far apart with no hand-over between them: another system resends this message as well. A line of the history names
-- one case only, so an event that also escalates leaves this to a later one.
local function look_for_other_retrier(event)
  local record, apart = event.record, math.max(event.rule.settle, LATE)
  if not record.r and not event.escalated and event.at - (record.l or record.f) * 1000 > apart then
    record.r = 1
    event.case = open_case(group_of(event, "also_retried"), event.delivery, case_facts(event, "also_retried"))
  end
end
