"""Bugs of the Lua scripts: what is accepted, claimed, finished, resolved and swept."""

from .mutant import Mutant, in_file

ACCEPT = (
    "tests/contract/test_accept.py",
    "tests/contract/test_review.py",
    "tests/contract/test_brake.py",
    "tests/contract/test_breakers.py",
    "tests/model/test_ledger.py::test_on_fakeredis",
)
CLAIM = ("tests/contract/test_claim.py", "tests/contract/test_gaps.py", "tests/contract/test_review.py")
BRAKE = ("tests/contract/test_brake.py",)
BREAKERS = ("tests/contract/test_breakers.py", "tests/model/test_breakers.py")
LUA = "store/lua/"

MUTANTS: tuple[Mutant, ...] = (
    *in_file(
        LUA + "include/outcomes.lua",
        ACCEPT,
        (
            "record.a >= limits.max_attempts or done",
            "record.a > limits.max_attempts or done",
            "No more tries than the limit.",
        ),
        ("done >= #dues then", "done > #dues then", "Tries end with the rule's delays."),
        (
            "math.max(dues[done + 1], now + limits.min_delay)",
            "math.max(dues[done + 1], now)",
            "No retry is due sooner than the least delay from now.",
        ),
        (
            "if next_due > record.x * 1000 then",
            "if next_due > record.x * 1000 + 3600000 then",
            "Nothing is due past its deadline.",
        ),
        ("record.a = record.a + 1\n  record.n", "record.n", "Each try has the next number."),
        (
            "record.e, record.z, record.g, record.k, record.kt, record.q, record.j = nil, nil, nil, nil, nil, nil, nil\n",
            "record.e, record.z, record.g, record.q, record.j = nil, nil, nil, nil, nil\n",
            "The strikes of one try do not count against the next.",
        ),
        (
            "record.u = rule.soft.keeps and 1 or nil",
            "record.u = nil",
            "Silence resets no count that nothing resets.",
        ),
        (
            '"1" and "quiet" or nil',
            '"0" and "quiet" or nil',
            "A retry says that it waits for the end of the quiet hours.",
        ),
        (
            "    record.g = nil\n  end\n  record.s = state",
            "  end\n  record.s = state",
            "What leaves a case is no longer named as its member.",
        ),
        (
            'if term.scope == "merchant" and event.m ~= "" then',
            'if event.m ~= "" then',
            "A suppression for all binds all merchants.",
        ),
        (
            "z = term.expires and now + term.expires or nil, code",
            "z = term.expires and event.at + term.expires or nil, code",
            "A suppression lasts its term from now.",
        ),
        ("event.counts and why ==", "why ==", "A deadline or nobody in particular is never suppressed."),
        (
            'give_up(why, rule["then"] ~= "drop")',
            "give_up(why, false)",
            "Who has used up his tries is in a case.",
        ),
        (
            "not found or found.incident) then",
            "not found) then",
            "An ordinary block refuses before a provisional one.",
        ),
        (
            'unsent = unsent or (record.s == "held" and record.j == 1)\n',
            "",
            "A try that never left keeps its number under an incident.",
        ),
        (
            "deadline = record.x * 1000 }, payload, to)",
            "deadline = record.x }, payload, to)",
            "A notice's deadline is in milliseconds.",
        ),
    ),
    *in_file(
        LUA + "include/failure.lua",
        ACCEPT,
        (
            "event.at >= record.c - LATE)",
            "event.at >= record.c + LATE)",
            "A report shortly before the claim answers it.",
        ),
        (
            "event.answers == record.a or (not event.answers and",
            "(",
            "A report that names its resend answers that one only.",
        ),
        (
            'if state == "waiting" and event.answers == record.a then',
            "if false then",
            "The answer to a try that waits proves that it left.",
        ),
        (
            "    if not event.bare then --",
            "    if true then --",
            "A try is counted once, by its enriched form.",
        ),
        ('if rule.kind == "p" then', "if true then", "A recipient's fault says nothing of the provider."),
        (
            "event.counts = false\n  end\n  local confirmed",
            "end\n  local confirmed",
            "A bounce after the delivery is not counted.",
        ),
        (
            "verdict = rule.confirm.meanwhile",
            'verdict = "hold"',
            "One report of a dead number is retried as the rule says.",
        ),
        (
            "math.min(record.y or math.huge,",
            "math.max(record.y or 0,",
            "The earliest notAfter of any report binds.",
        ),
        (
            "  elseif record.x and record.y then -- the message's own deadline binds what waits, too\n"
            "    record.x = math.min(record.x, record.y)\n",
            "",
            "The message's own deadline binds what waits already.",
        ),
        (
            "is_standing(marks[1]) or is_standing(marks[2])",
            "is_standing(marks[1])",
            "A cancelled claim starts nothing.",
        ),
        (
            "if newest > (record.l or record.f) then",
            "if false then",
            "Somebody else who retries too is seen by the dates of failures.",
        ),
        (
            "note_reached(rid)\n    end\n  end\n  local waits",
            "end\n  end\n  local waits",
            "Who has the message does not get it again with others.",
        ),
        ("record.rs = keep", "record.rs = nil and keep", "A resend to several reaches nobody who refuses."),
        (
            'local keeps_address = record.s == "waiting" or record.s == "held" or',
            'local keeps_address = record.s == "waiting" or',
            "A held retry keeps its recipients.",
        ),
        ('or outcome == "ended" and old_payload', "", "What has ended keeps what it was."),
    ),
    *in_file(
        LUA + "include/arrived.lua",
        ACCEPT,
        ("if item[2] > at then", "if item[2] >= 0 then", "A delivery clears the evidence of before."),
        ('cjson.decode(pause).by == "policy" and', "", "A delivery lifts no person's pause."),
        (
            'if old_state == "out" or old_state == "leased" then',
            "if false then",
            "An arrival is an answer that the breaker counts.",
        ),
        ("after = now - record.f * 1000", "after = now - record.f", "Recovered says after how long (ms)."),
        ("math.min(event.at or now, now)", "now", "A delivery clears nothing that came after it."),
    ),
    *in_file(
        LUA + "include/judge.lua",
        (*ACCEPT, "tests/contract/test_brake.py"),
        (
            "escalated = soft\n",
            "escalated = nil\n",
            "A recipient is escalated after the soft bounces of the policy.",
        ),
        (
            "newest - known.x > soft.within",
            "newest - known.x > 0",
            "A recipient is escalated once in a window.",
        ),
        (
            "if not old or cjson.decode(old).z < ends then",
            "if true then",
            "A policy's pause does not shorten a person's.",
        ),
        (
            'soft.count == "messages" and string.sub(id, 1, 12) or event.i',
            "event.i",
            "Six tries of one message are one soft bounce.",
        ),
    ),
    *in_file(
        LUA + "include/evidence.lua",
        ACCEPT,
        ("at - last >= apart", "at - last >= 0", "Reports within one bad hour count as one."),
        (
            "list[1][2] < newest - within",
            "list[1][2] < newest - 2 * within",
            "Evidence outside of the window does not count.",
        ),
        (
            "at = math.max(list[place][2], at)\n",
            "",
            "The same evidence in another order leaves the same list.",
        ),
    ),
    *in_file(
        LUA + "include/suppress.lua",
        (*BRAKE, "tests/contract/test_lists.py", "tests/contract/test_review.py"),
        ("(old.z and entry.z > old.z)", "old.z", "A longer block is not shortened by a report."),
        (
            "old.full, old.incident, old.b = nil, nil, nil",
            "old.full, old.incident = nil, nil",
            "Other evidence takes a block out of its incident.",
        ),
        (
            'entry.full, entry.z = entry.z, now + limits.brake["for"]',
            "entry.full = entry.z",
            "A provisional block ends by itself.",
        ),
        (
            "if #old.evidence < 5 then",
            "if #old.evidence < 1 then",
            "A block gains the evidence of later reports.",
        ),
    ),
    *in_file(
        LUA + "include/brake.lua",
        BRAKE,
        ("brake.n > math.max(", "brake.n >= math.max(", "At the limit of the brake nothing happens."),
        ("if not brake.k then -- what", "if true then -- what", "What an incident did is not usual."),
        ("brake.w, brake.n = now, 0 --", "brake.w = now --", "A window of the brake ends."),
        ("limits.brake.times_usual * (brake.u or 0)", "0", "What is usual does not trip the brake."),
    ),
    *in_file(
        LUA + "include/seen.lua",
        ("tests/contract/test_seen.py", *ACCEPT),
        (
            "MARK * (MARKS - 1)",
            "MARK * (MARKS - 190)",
            "A record knows the 200 newest events that it has had.",
        ),
        (
            "until not at or (at - 1) % MARK == 0\n  if at then",
            "until true\n  if at then",
            "An event is known by a whole mark.",
        ),
        (
            "string.upper(letter) or letter)",
            "letter or letter)",
            "A bare report gives way to its enriched form.",
        ),
        ("index.looked = #story", "index.looked = 0", "The index of a history grows with it."),
    ),
    *in_file(
        LUA + "include/delivered.lua",
        ("tests/contract/test_seen.py", *ACCEPT),
        (
            "ipairs({ delivered, delivered_before })",
            "ipairs({ delivered })",
            "What arrived is known for a whole dedupe period.",
        ),
        ("if not hits[n] and added > 0 then", "if false then", "What arrived earlier in the batch is known."),
        ("(at - 1) % ENTRY == 0", "true", "What arrived is found by a whole entry."),
        (
            "digits = FEWEST, total",
            "digits = digits_for(total), total",
            "A full set of buckets is still looked at.",
        ),
        (
            'hset(meta, "delivered", string',
            'hset(meta, "delivered_", string',
            "What arrived is counted, so that a larger set opens.",
        ),
    ),
    *in_file(
        LUA + "accept.lua",
        (*ACCEPT, "tests/contract/test_dead_letters.py", "tests/contract/test_one_bad_item.py"),
        (
            "seen + 1, now, now + limits",
            "seen, now, now + limits",
            "A letter that comes again is told from the first time.",
        ),
        (
            "add_letter_bytes(#entry - #known)",
            "add_letter_bytes(#entry)",
            "A letter that comes again takes its room once.",
        ),
        ("#payload > #known and", "", "A letter that was kept whole stays whole."),
        ("    is_newer = true\n", "", "A report about a newer release's record is that release's."),
        (
            "if first and (event.bare or not is_bare) then",
            "if first then",
            "An enriched form comes in place of its bare report.",
        ),
        ("totals.deferred = nil --", "--", "A deferred event is counted when it is taken in."),
        (
            "      zrem(members, twin.g",
            "      zadd(members, 0, twin.g",
            "A bare report that gave way leaves its case.",
        ),
    ),
    *in_file(
        LUA + "claim.lua",
        CLAIM,
        ("record.b ~= record.a --", "true --", "A second claim of the same try counts for no cap."),
        ("and retry.record.q ~= 2 then", "then", "What a person releases although it is late leaves."),
        (
            "retry.record.x * 1000 < now",
            "retry.record.x * 1000 < now - 3600000",
            "Nothing leaves past its deadline.",
        ),
        (
            "local STRIKES, STRIKES_WITHIN = 3, 72 * 3600",
            "local STRIKES, STRIKES_WITHIN = 3, 2",
            "Strikes of one evening add up.",
        ),
        (
            "is_suppressed(retry) and not is_provisional",
            "is_suppressed(retry)",
            "A provisional block ends no retry.",
        ),
        ("record.t = record.t + 1\n", "", "Each lease has a token of its own."),
        (
            "keep(retry, now + options.lease)",
            "keep(retry, now + options.lease * 1000)",
            "A lease ends, and the retry leaves again.",
        ),
        ("left = left - 1\n", "", "No more leave in a second than the rate says."),
        (
            "if leaving > 0 and strikes ~= company then",
            "if false then",
            "What has a strike is not claimed with what has none.",
        ),
        (
            "is_full = strikes > 1 or strikes == 1 and",
            "is_full = strikes == 1 and",
            "After two strikes a retry is claimed alone.",
        ),
        (
            "caller.answered < last.n then",
            "caller.answered < 0 then",
            "A claim whose answer was lost is due again at once.",
        ),
        (
            "record.t == last.d[n + 1] then",
            "true then",
            "A lease that another worker has by now is not taken back.",
        ),
        (
            "caller.claim <= last.n then",
            "false then",
            "A claim that comes after its successor leases nothing.",
        ),
        ("options.epoch ~= known[2] then", "false then", "A store that lost its state waits for a person."),
        ("number <= options.seen then", "false then", "An older state of the store waits for a person."),
        (
            "now - swept > GAP and",
            "now - swept > GAP * 100 and",
            "After a long gap hand-overs wait for a person.",
        ),
        (
            'mode ~= "off" then\n  alarm',
            "true then\n  alarm",
            "A store that is off raises no alarm of a gap.",
        ),
        (
            "after = now - record.f * 1000 }, payload, recipients)",
            "after = now }, payload, recipients)",
            "Recovered says after how long (ms).",
        ),
        (
            "tries = record.a - 1 }, payload",
            "tries = record.a }, payload",
            "Given up says how many tries were made.",
        ),
    ),
    *in_file(
        LUA + "include/gates.lua",
        (*CLAIM, "tests/contract/test_one_bad_item.py"),
        (
            "ends > now and (not latest or ends > latest)",
            "ends > now and not latest",
            "A retry waits for the end of its longest pause.",
        ),
        (
            "made and (n <= 2 or made >= retry.record.f * 1000)",
            "made",
            "A word about people covers what waits, and not what comes.",
        ),
        (
            "pause_fields[at + 7] = by_recipient",
            'pause_fields[at + 7] = "x"',
            "A paused recipient gets nothing.",
        ),
        (
            'cancel_fields[at + 7] = "delivered:"',
            'cancel_fields[at + 7] = "arrived:"',
            "One of several who has the message does not get it again.",
        ),
        (
            '(own.mode ~= "on" or own.at > star.at)',
            'own.mode ~= "on"',
            "While all are observed one merchant can be switched on.",
        ),
        (
            "times[#times - cap.count + 1] * 1000 + cap.per",
            "times[1] * 1000",
            "A capped retry waits until one may leave.",
        ),
        ('if by_claim ~= "claim:" then', "if false then", "A claim gets no more resends than its cap."),
        (
            'redis.call("ZADD", schedule, now + 60000, id)',
            "zrem(schedule, id)",
            "A newer release's record is left alone.",
        ),
        (
            "string.find(suppressed[n], '\"incident\":', 1, true)",
            "true",
            "An ordinary block ends a retry though another is provisional.",
        ),
    ),
    *in_file(
        LUA + "include/several.lua",
        ("tests/contract/test_review.py", "tests/contract/test_gaps.py"),
        (
            "made and made >= record.f * 1000 then",
            "made then",
            "A word about a person covers what waits, and not what comes.",
        ),
        ('single.e == "delivered" or', "", "One of several who has it does not get it again."),
        (
            "kept[place] = all[n]",
            "kept[place] = all[place]",
            "What is left of several recipients are those who are wanted.",
        ),
        ("pause = paused_[n]", "pause = nil", "A pause of one of several holds their delivery."),
        ("sent = sent_[n]", "sent = nil", "A recipient's cap counts resends to several."),
    ),
    *in_file(
        LUA + "include/line.lua",
        ("tests/contract/test_claim.py", "tests/model/test_ledger.py::test_on_fakeredis"),
        (
            "line.turn = line.turn + line.taken",
            "line.turn = line.turn + 1",
            "Each merchant has as many turns as it took.",
        ),
        (
            "math.max(line.turn + 1, lowest or 0)",
            "line.turn",
            "A merchant that was off has no turns to catch up.",
        ),
        ('"%010.0f", math.min', '"%.0f", math.min', "Deadlines stand in line by their value."),
    ),
    *in_file(
        LUA + "include/take_back.lua",
        CLAIM,
        ("and record.k - 1 or nil", "and record.k or nil", "A release takes back its own strike."),
        ("record.kt = record.k and record.kt", "record.k = nil", "A release takes back no crash's strike."),
    ),
    *in_file(
        LUA + "finish.lua",
        CLAIM,
        ("not record or record.t ~= token then", "not record then", "A stale token changes nothing."),
        (
            'return again and "done" or "stale"',
            'return "stale"',
            "A finish answers the same when its reply was lost.",
        ),
        (
            "record.k, record.kt, record.w, record.q = nil, nil, nil, nil",
            "record.w, record.q = nil, nil",
            "A hand-over clears the strikes.",
        ),
        (
            "zadd(schedule, now + group.delay, id)",
            "zadd(schedule, now, id)",
            "A hand-over that is put off waits its delay.",
        ),
    ),
    *in_file(
        LUA + "sweep.lua",
        ("tests/contract/test_claim.py", "tests/contract/test_lists.py", "tests/contract/test_seen.py"),
        ("record.c + options.silence > now then", "false then", "Only a day of silence counts as delivered."),
        (
            'record.s ~= "out" or record.u or',
            'record.s ~= "out" or',
            "Silence is presumed once, and resets no count that nothing resets.",
        ),
        ("    known.m = nil\n", "", "Who is presumed to have it starts anew."),
        ("      forget_history(id)\n", "", "State is gone after retention, its history too."),
        (
            "add_letter_bytes(-#value)",
            "add_letter_bytes(0)",
            "A letter that goes gives back its share of the budget.",
        ),
        (
            "made + options.cancelled",
            "made + 2 * options.cancelled",
            "A cancellation lasts as long as the policy says.",
        ),
    ),
    *in_file(
        LUA + "resolve.lua",
        (
            "tests/contract/test_lists.py",
            "tests/contract/test_review.py",
            "tests/contract/test_brake.py",
            "tests/contract/test_one_bad_item.py",
        ),
        ("try <= options.max_attempts and", "", "A released message is not resent beyond the limit."),
        ("due <= record.x * 1000)", "true)", "A stale delivery is released by a person's word only."),
        ("and record.g == case.group then", "then", "A case decides about its own deliveries only."),
        ("due = due + options.step\n", "", "A group is released at a pace."),
        ("hdel(open_cases, case.group)\n", "", "A resolved case takes no more members."),
        (
            "math.max(brake.u or 0, case.suppressed) or brake.u",
            "brake.u or brake.u",
            "What a person found right is usual from now on.",
        ),
        (
            "record.q = options.even_stale and 2 or nil\n",
            "",
            "What a person releases although it is late leaves.",
        ),
        (
            "elseif hget(deliveries, id) then",
            "elseif false then",
            "A newer record counts beside a damaged one that is released.",
        ),
    ),
    *in_file(
        LUA + "replan.lua",
        ("tests/contract/test_replan.py",),
        ("record.d * 1000 > now then", "true then", "What is due already keeps what it has."),
        (
            "record.a == move.a and record.d == move.d",
            "record.a == move.a",
            "What has changed since it was read keeps what it has.",
        ),
        ("math.max(move.due, math.floor(now / 1000))", "move.due", "A new time that has passed is now."),
    ),
    *in_file(
        LUA + "include/answers.lua",
        BREAKERS,
        ("head.b >= fatal then", "head.b > fatal then", "Failed probes open the breaker again."),
        (
            "head.g > breaker.probe - fatal then",
            "head.g > 0 then",
            "One good probe of three closes no breaker.",
        ),
        (
            "(answered.c or 0) < (head.c or 0)",
            "false",
            "What left before the breaker opened says nothing of the time after.",
        ),
        ("total >= breaker.least and", "", "A few answers open no breaker."),
        (
            "breaker.factor ^ (head.n - 1)",
            "breaker.factor ^ 0",
            "A breaker that opens again stays open longer.",
        ),
        ("> now - breaker.within then", "> 0 then", "Answers of long ago open no breaker."),
    ),
    *in_file(
        LUA + "include/breakers.lua",
        BREAKERS,
        (
            "head.s, head.u, head.n, head.p",
            "head.s, head.u, head.p",
            "After a close the next opening lasts the base.",
        ),
        ("    hdel(open_cases, group)\n", "", "A breaker that closes takes its case along."),
    ),
    *in_file(
        LUA + "include/provider_gate.lua",
        BREAKERS,
        (
            "math.max(LEAST_SHARE, (now - head.r) / ramp) or 1",
            "1 or 1",
            "After a breaker closes its provider gets its rate little by little.",
        ),
        (
            "head.p, touched[one.name] = head.p - 1, one",
            "touched[one.name] = one",
            "A half-open breaker lets its probes through and no more.",
        ),
        ("left and left < 1 then", "false then", "A provider gets no more than its rate."),
        (
            "one.head.y, touched[name] = nil, one",
            "touched[name] = one",
            "A worker hears once of a breaker that opened.",
        ),
    ),
    *in_file(
        LUA + "include/history.lua",
        ACCEPT,
        (
            "return string.sub(lines, 1, first - 1) .. string.sub(lines, rest)",
            "return string.sub(lines, rest + 1)",
            "How a message began stays in its history.",
        ),
    ),
    *in_file(
        LUA + "forget.lua",
        ("tests/security/test_forget.py", "tests/contract/test_lists.py"),
        (
            "record and recipients == before then",
            "record then",
            "What has changed between find and erase is left alone.",
        ),
        ("suppression.address = nil\n", "", "A block that stays forgets the address."),
    ),
    *in_file(
        LUA + "discard.lua",
        (
            "tests/contract/test_lists.py",
            "tests/contract/test_dead_letters.py",
            "tests/integration/test_cli_store.py",
        ),
        (
            "string.match(letter, '^{\"n\":(%d+)') == ARGV[n + 1]",
            "true",
            "A letter that came back meanwhile stays.",
        ),
    ),
)
