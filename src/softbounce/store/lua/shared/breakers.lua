-- breakers: the entry of a provider: a head as JSON, a line break, its newest answers.
-- head      an absent field means nothing:
--   s  open | half; absent: closed     u  open until; half: end of this round of probes (ms)    n  times opened in a row
--   c  answers to resends before this do not count (ms)    p  probes left    g, b  answers to probes, good and bad    r  ramps up from (ms)
--   l, t  tokens left, and when (ms)   q  the newest place given to a retry that waits (ms)     m  1: opened by a person
--   y  1: it opened or closed, and no worker has logged it yet    z  forget at (ms)
-- answers   for each a sign and a time (s): + it arrived, - the provider failed
-- needs: now providers
-- gives: in_hand provider_of keep_entry set_closed
local in_hand = {} -- provider -> its entry, as read

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

local function set_closed(head)
  head.s, head.u, head.n, head.p, head.g, head.b, head.m, head.q, head.r = nil, nil, nil, nil, nil, nil, nil, nil, now
end
