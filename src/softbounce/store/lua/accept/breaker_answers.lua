-- breaker_answers: counts how a provider answered resends, and opens or closes its breaker.
-- needs: breakers now hget parse_payload open_case in_hand touched provider_of keep_entry incident_of note_change tell_closed set_closed
--        limits providers
-- gives: count_answer
local function close_breaker(one, reason)
  set_closed(one.head)
  tell_closed(one, reason)
end

local function open_breaker(one, reason)
  local head, breaker = one.head, one.breaker
  head.n = (head.n or 0) + 1
  head.s, head.u = "open", now + math.floor(math.min(breaker.cap, breaker.base * breaker.factor ^ (head.n - 1)))
  head.c, head.p, head.g, head.b, head.r, head.q, one.answers = now, nil, nil, nil, nil, nil, ""
  open_case(incident_of(one), "", { kind = "incident", code = "provider_down", merchant = "", channel = "", detail = one.name })
  note_change(one, "breaker opened", reason)
end

-- The share of failures that opens a breaker is taken of all probes of a round. A probe without an answer decides nothing.
local function count_probe(one, sign)
  local head, breaker = one.head, one.breaker
  local fatal = math.max(1, math.ceil(breaker.failures * breaker.probe))
  head.g, head.b = head.g + (sign == "+" and 1 or 0), head.b + (sign == "-" and 1 or 0)
  if head.b >= fatal then
    open_breaker(one, "probes failed")
  elseif head.g > breaker.probe - fatal then
    close_breaker(one, "probes arrived")
  end
end

-- Counts one answer to a resend. A resend that left before the breaker opened tells nothing about the time after.
local function count_answer(answered, about, sign)
  if not next(providers) then
    return
  end
  local fields = parse_payload(about)
  if not fields then
    return
  end
  local name = provider_of(fields)
  local one = in_hand[name] or keep_entry(name, hget(breakers, name))
  local head, breaker = one.head, one.breaker
  if not breaker or head.s == "open" or (answered.c or 0) < (head.c or 0) then
    return
  end
  touched[name] = one
  if head.s == "half" then
    return count_probe(one, sign)
  end
  if limits.silence_is_good then -- its hand-over was counted as a good answer
    one.answers = string.gsub(one.answers, "%+%d+", "", 1)
  end
  one.answers = string.sub(one.answers .. sign .. math.floor(now / 1000), -11 * breaker.of_last) -- 11: a sign and a second
  if sign == "+" then
    return
  end
  local total, failed = 0, 0
  for which, second in string.gmatch(one.answers, "([+-])(%d+)") do
    if tonumber(second) * 1000 > now - breaker.within then
      total, failed = total + 1, failed + (which == "-" and 1 or 0)
    end
  end
  if total >= breaker.least and failed >= breaker.failures * total then
    open_breaker(one, failed .. " of " .. total .. " resends failed")
  end
end
