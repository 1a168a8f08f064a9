-- breakers: what is known of each provider: a head as JSON, then its newest answers.
-- head      an absent field means none:
--   s  open | half; absent: closed     u  open until; half: end of this round of probes (ms)    n  times opened in a row
--   c  older resends tell nothing new (ms)    p  probes left    g, b  answers to probes, good and bad    r  ramps up from (ms)
--   l, t  tokens left, and when (ms)   q  the newest place given to a retry that waits (ms)     m  1: opened by a person
--   y  1: opened or closed, and no worker has said it yet    z  forget at (ms)
-- answers   a sign and the second for each: + it arrived, - the provider failed
-- needs: breakers cases open_cases members audit now hget hset hdel zrem xadd providers
-- gives: in_hand touched provider_of keep_entry incident_of note_change close_breaker write_breakers
local in_hand, touched = {}, {} -- by provider
local A_DAY = 24 * 3600 * 1000

local function provider_of(fields) -- of a payload
  local extra, merchant = fields[11], fields[4]
  if extra and extra.provider then
    return extra.provider
  end
  merchant = type(merchant) == "number" and string.format("%.0f", merchant) or merchant
  return merchant == "" and fields[2] or fields[2] .. ":" .. merchant
end

local function keep_entry(name, raw)
  local head, answers = string.match(raw or "{}", "^([^\n]*)\n?(.*)$")
  local terms = providers[name] or providers["*"] or {}
  in_hand[name] = { name = name, head = cjson.decode(head), answers = answers, breaker = terms.breaker, rate = terms.rate }
  return in_hand[name]
end

local function incident_of(one)
  return "incident\n\n\nprovider_down\n" .. one.name
end

local function note_change(one, action, reason)
  touched[one.name], one.head.y = one, 1
  xadd(audit, { at = now, actor = "policy", action = action, what = one.name, reason = reason })
end

local function close_breaker(one, reason)
  local head, group = one.head, incident_of(one)
  head.s, head.u, head.n, head.p, head.g, head.b, head.m, head.q, head.r = nil, nil, nil, nil, nil, nil, nil, nil, now
  local case = hget(open_cases, group)
  if case then
    hdel(open_cases, group)
    hdel(cases, case)
    zrem(members, group .. "\n\n")
  end
  note_change(one, "breaker closed", reason)
end

local function write_breakers()
  for name, one in pairs(touched) do
    one.head.z = math.max(now, one.head.u or 0) + A_DAY + (one.breaker and one.breaker.ramp_up + one.breaker.within or 0)
    hset(breakers, name, cjson.encode(one.head) .. "\n" .. one.answers)
  end
end
