-- provider_gate: whether a provider takes one more resend now. Nothing is written here: claim and inspect ask the same gate.
-- needs: breakers now hmget in_hand provider_of keep_entry set_closed providers options
-- gives: read_breakers read_providers tokens_of provider_gate
local LEAST_SHARE = 0.02 -- of the rate, at the start of a ramp: it must begin with something
local is_any_provider = next(providers) ~= nil or redis.call("HLEN", breakers) > 0

-- Brings a breaker's head to its state as of now: an open breaker is tried once its time is over; a round of probes that nobody
-- answered makes room for another. `closes` says why it closed, `probes` that a round begins.
local function move_on(one)
  local head, breaker = one.head, one.breaker
  if not head.s or now < head.u and (breaker or head.m) then
    return
  elseif not breaker then
    one.closes = head.m and "its time is over" or "policy has no breaker for it"
    set_closed(head)
  elseif head.s == "half" and options.silence_is_good and head.p < breaker.probe then
    one.closes = "no probe failed"
    set_closed(head)
  else
    if head.s ~= "half" then
      head.s, head.c, head.g, head.b, head.m, head.q = "half", now, 0, 0, nil, nil
    end
    head.p, head.u, one.probes = breaker.probe, now + breaker.within, true
  end
end

-- Reads what is known of providers, each as of now, in one HMGET.
local function read_breakers(names)
  local asked, seen = {}, {}
  for _, name in ipairs(names) do
    if not in_hand[name] and not seen[name] then
      asked[#asked + 1], seen[name] = name, true
    end
  end
  for n, raw in ipairs(hmget(breakers, asked)) do
    move_on(keep_entry(asked[n], raw))
  end
end

-- The list may hold false.
local function read_providers(retries)
  local names = {}
  for _, retry in ipairs(is_any_provider and retries or {}) do
    if retry then
      retry.provider = provider_of(retry.fields)
      names[#names + 1] = retry.provider
    end
  end
  read_breakers(names)
end

-- How many may leave now, a token bucket that holds one second; nil: any number.
local function tokens_of(one)
  local head, ramp = one.head, one.breaker and one.breaker.ramp_up or 0
  local is_ramping = head.r and now < head.r + ramp
  local rate = one.rate or is_ramping and options.rate
  if not rate then
    return nil
  end
  local per_ms = rate.count / rate.per * (is_ramping and math.max(LEAST_SHARE, (now - head.r) / ramp) or 1)
  local most = math.max(1, 1000 * per_ms)
  return math.min(most, (head.l or most) + math.max(0, now - (head.t or now)) * per_ms)
end

-- Returns a place of its own for one that must wait, as far from the one before as the rate says: nobody comes back in vain together.
local function next_place(one, moment)
  local rate = one.rate or options.rate
  return math.max(one.head.q or 0, moment) + rate.per / rate.count
end

local function provider_gate(retry)
  local one = is_any_provider and in_hand[retry.provider]
  if not one then
    return nil
  end
  local head = one.head
  if head.s == "open" then
    return "waiting", next_place(one, head.u), "breaker"
  elseif head.s == "half" and head.p < 1 then
    return "waiting", next_place(one, now + one.breaker.base), "breaker"
  end
  local left = tokens_of(one)
  if left and left < 1 then
    return "waiting", next_place(one, now), "rate"
  end
end
