"""Planted bugs of the ledger that the model, or a named test beside it, must notice."""

from checks.mutants.mutant import Mutant

MODEL = ("tests/model/test_ledger.py::test_on_valkey",)
CLAIM, LISTS = "tests/contract/test_claim.py::", "tests/contract/test_lists.py::"
FAILURE, OUTCOMES = "store/lua/accept/failure.lua", "store/lua/accept/outcomes.lua"
CLAIMING, RESOLVING = "store/lua/claim.lua", "store/lua/resolve.lua"

RECIPIENTS = (
    Mutant(
        file=FAILURE,
        old=' or record.s == "held" or record.s == "leased"',
        new=' or record.s == "held"',
        rule="A late report on a leased retry leaves its recipients.",
        tests=MODEL,
    ),
    Mutant(
        file=FAILURE,
        old='keeps_address and event.old_recipients or ""',
        new='keeps_address and event.recipients or ""',
        rule="A report that changes nothing does not bring back who was left out of a retry.",
        tests=MODEL,
    ),
    Mutant(
        file=FAILURE,
        old="was_delivered(count + event.first + n - 1)",
        new="was_delivered(count + event.first + n)",
        rule="Who of several had the message before gets no resend; the others do.",
        tests=(
            "tests/contract/test_several_recipients.py::test_one_of_several_who_had_the_message_before_does_not_get_it_again",
        ),
    ),
    Mutant(
        file=FAILURE,
        old="    record.t = record.t + 1\n",
        new="",
        rule="A failure that outruns the confirmation of its hand-over makes that stale.",
        tests=MODEL,
    ),
    Mutant(
        file="store/lua/accept/arrived.lua",
        old="  elseif bare.rs then\n    note_reached(event, event.rid)",
        new="  elseif bare.rs then\n    note_reached(event, event.ch)",
        rule="A delivery to one of several ends nobody else's.",
        tests=MODEL,
    ),
    Mutant(
        file="store/lua/shared/multi_recipient.lua",
        old="made >= record.f * 1000",
        new="made >= record.f",
        rule="Cancelling a recipient covers what waited then, and not what comes, also as one of several.",
        tests=MODEL,
    ),
    Mutant(
        file="store/lua/shared/multi_recipient.lua",
        old='record.rs, retry.recipients = rids, "[" .. table.concat(kept, ",") .. "]"',
        new='retry.recipients = "[" .. table.concat(kept, ",") .. "]"',
        rule="Who is left of several, and their hashes, stay together.",
        tests=MODEL,
    ),
    Mutant(
        file="store/lua/shared/multi_recipient.lua",
        old="people[#people + 1] = { rid = rid, pause = paused_[n], sent = sent_[n] }",
        new="people[#people + 1] = { rid = rid, sent = sent_[n] }",
        rule="A pause of one of several holds their delivery.",
        tests=(
            "tests/contract/test_several_recipients.py::test_a_pause_of_one_of_several_holds_their_delivery",
        ),
    ),
)

DEADLINES = (
    Mutant(
        file=FAILURE,
        old="record.y = math.min(record.y or math.huge, math.floor(event.not_after / 1000))",
        new="record.y = math.floor(event.not_after / 1000)",
        rule="Of the deadlines that a message was given the nearest binds.",
        tests=(
            "tests/contract/test_accept.py::test_a_later_deadline_does_not_replace_an_earlier_one",
            *MODEL,
        ),
    ),
    Mutant(
        file=FAILURE,
        old="    record.x = math.min(record.x, record.y)\n",
        new="",
        rule="The message's own deadline binds what waits, too.",
        tests=MODEL,
    ),
    Mutant(
        file=FAILURE,
        old="math.min(record.f + math.floor(event.rule.give_up / 1000)",
        new="math.min(math.floor(event.at / 1000) + math.floor(event.rule.give_up / 1000)",
        rule="give_up_after counts from the first failure.",
        tests=MODEL,
    ),
    Mutant(
        file=OUTCOMES,
        old="if due > record.x * 1000 then",
        new="if event.dues[done + 1] > (record.y or math.huge) * 1000 then",
        rule="No try is scheduled past the rule's deadline.",
        tests=MODEL,
    ),
    Mutant(
        file=OUTCOMES,
        old="local done = record[rule.kind] or 0",
        new="local done = (record.p or 0) + (record.o or 0)",
        rule="Only tries answered with a fault of the same kind count against a rule.",
        tests=("tests/contract/test_accept.py::test_tries_after_another_kind_of_fault_use_up_no_delay",),
    ),
    Mutant(
        file=OUTCOMES,
        old="record.n = math.min(record.a + #dues - done - 1, limits.max_attempts)",
        new="record.n = math.min(record.a + #dues - done, limits.max_attempts)",
        rule="A resend says which try is the last one that its rule allows.",
        tests=MODEL,
    ),
    Mutant(
        file="store/lua/shared/gates.lua",
        old="retry.record.x * 1000 < now and retry.record.q ~= 2",
        new="retry.record.x * 1000 < now",
        rule="What a person released even stale leaves past its deadline.",
        tests=MODEL,
    ),
)

RESCHEDULE = (
    Mutant(
        file="core/replan.py",
        old="min(delivery.first_failed + rule.give_up_after, delivery.own_deadline)",
        new="(delivery.first_failed + rule.give_up_after)",
        rule="A reschedule never plans past the message's notAfter.",
        tests=(
            "tests/contract/test_replan.py::test_a_retry_is_never_planned_past_the_deadline_of_its_message",
        ),
    ),
    Mutant(
        file="core/records.py",
        old='"p" if fault is Fault.PROVIDER else "o"',
        new='"o" if fault is Fault.PROVIDER else "p"',
        rule="A reschedule reads the tries of the right kind of fault.",
        tests=MODEL,
    ),
    Mutant(
        file="core/replan.py",
        old="delivery.is_urgent or ",
        new="",
        rule="A reschedule leaves a hurried retry as it is.",
        tests=("tests/contract/test_replan.py::test_a_retry_that_a_person_released_as_it_is_keeps_its_time",),
    ),
    Mutant(
        file="core/replan.py",
        old="is_over or due > deadline",
        new="is_over",
        rule="A reschedule drops what it would plan past the deadline.",
        tests=(
            "tests/contract/test_replan.py::test_a_retry_that_the_new_rule_drops_or_outlasts_is_given_up",
        ),
    ),
    Mutant(
        file="core/replan.py",
        old="last = min(delivery.attempt + len(dues) - done - 1, limits.max_attempts)",
        new="last = min(delivery.attempt + len(dues) - done, limits.max_attempts)",
        rule="A reschedule counts the last try that the new rule allows.",
        tests=MODEL,
    ),
    Mutant(
        file="core/replan.py",
        old="now=received,",
        new="now=now,",
        rule="A reschedule counts from the failure, not from now.",
        tests=("tests/contract/test_replan.py::test_the_least_delay_of_a_new_plan_counts_from_the_report",),
    ),
    Mutant(
        file="store/lua/replan.lua",
        old="record.d, record.x, record.n, record.w = due, move.deadline, move.last, move.waits_for",
        new="record.d, record.n, record.w = due, move.last, move.waits_for",
        rule="A reschedule gives a retry the new rule's deadline.",
        tests=MODEL,
    ),
)

STRIKES = (
    Mutant(
        file=RESOLVING,
        old="record.g, record.z, record.k, record.kt, record.j = nil, nil, nil, nil, nil",
        new="record.g, record.z, record.j = nil, nil, nil",
        rule="A crash-loop case that is released leaves at the next claim.",
        tests=MODEL,
    ),
    Mutant(
        file=CLAIMING,
        old="record.k, record.kt = nil, nil -- strikes",
        new="record.kt = nil -- strikes",
        rule="Strikes that were forgotten stay so while the retry waits.",
        tests=(CLAIM + "test_strikes_that_are_forgotten_stay_so_while_the_retry_waits[valkey]", *MODEL),
    ),
    Mutant(
        file="store/lua/shared/gates.lua",
        old="STRIKES, STRIKES_WITHIN = 3, 72 * 3600",
        new="STRIKES, STRIKES_WITHIN = 3, 72 * 3600 * 1000",
        rule="Strikes are forgotten after 72 h.",
        tests=(
            "tests/contract/test_claim.py::test_strikes_that_are_forgotten_stay_so_while_the_retry_waits",
        ),
    ),
    Mutant(
        file="store/lua/shared/gates.lua",
        old="STRIKES, STRIKES_WITHIN = 3, 72 * 3600",
        new="STRIKES, STRIKES_WITHIN = 2, 72 * 3600",
        rule="After one strike fewer than the limit a retry leaves as always.",
        tests=MODEL,
    ),
    Mutant(
        file="store/lua/shared/gates.lua",
        old="if retry.record.k and strikes_of(retry.record) >= STRIKES then",
        new="if retry.record.k and strikes_of(retry.record) > STRIKES then",
        rule="Three strikes hold a retry.",
        tests=MODEL,
    ),
    Mutant(
        file=CLAIMING,
        old="record.kt or math.floor(now / 1000)",
        new="math.floor(now / 1000)",
        rule="Strikes are forgotten 72 h after the first of them.",
        tests=(CLAIM + "test_strikes_that_are_forgotten_stay_so_while_the_retry_waits[valkey]",),
    ),
    Mutant(
        file="store/lua/shared/take_back.lua",
        old="(record.k or 1) > 1 and record.k - 1 or nil",
        new="nil",
        rule="A lease that is given back takes back its own strike, and none of a crash.",
        tests=MODEL,
    ),
)

HURRY = (
    Mutant(
        file="core/decide.py",
        old=" or delivery.is_urgent",
        new="",
        rule="run-now passes quiet hours.",
        tests=MODEL,
    ),
    Mutant(
        file="core/decide.py",
        old="    return out_of_quiet(now, rule.quiet_hours, zones, spread) - now\n",
        new="    return 0 * spread\n",
        rule="An unhurried retry does not leave at night.",
        tests=("tests/contract/test_claim.py::test_run_now_passes_quiet_hours_and_a_late_retry_does_not",),
    ),
    Mutant(
        file="store/lua/finish.lua",
        old="record.k, record.kt, record.w, record.q = nil, nil, nil, nil",
        new="record.k, record.kt, record.w = nil, nil, nil",
        rule="A person's hurry is over with the hand-over.",
        equivalent="the next try that is scheduled or released sets q anew, and nothing else reads it of what is out",
        tests=(),
    ),
    Mutant(
        file="store/lua/reschedule.lua",
        old="math.max(record.q or 0, 1), math.floor(now / 1000)",
        new="1, math.floor(now / 1000)",
        rule="run-now of what was released even stale leaves it without a deadline.",
        tests=(LISTS + "test_a_stale_delivery_is_released_by_a_person_s_word_only[valkey]", *MODEL),
    ),
    Mutant(
        file="store/lua/reschedule.lua",
        old="math.max(record.q or 0, 1), math.floor(now / 1000)",
        new="math.max(record.q or 0, 1), now",
        rule="run-now is due at once.",
        tests=MODEL,
    ),
    Mutant(
        file=OUTCOMES,
        old="record.q, record.j = nil, nil, nil, nil, nil, nil, nil",
        new="record.j = nil, nil, nil, nil, nil, nil",
        rule="The next try is not hurried because the one before was.",
        tests=("tests/contract/test_claim.py::test_the_try_after_a_hurried_one_is_not_hurried",),
    ),
    Mutant(
        file="store/lua/shared/gates.lua",
        old="math.max(retry.paused_until or 0, ends)",
        new="math.min(retry.paused_until or ends, ends)",
        rule="Of several pauses the last to end binds.",
        tests=("tests/contract/test_claim.py::test_a_retry_waits_for_the_end_of_its_longest_pause",),
    ),
    Mutant(
        file="store/lua/reschedule.lua",
        old="math.max(now, record.d * 1000)",
        new="now",
        rule="A resume gives a waiting retry its own time back.",
        tests=("tests/contract/test_claim.py::test_a_resume_sends_nothing_before_its_time",),
    ),
)

RELEASES = (
    Mutant(
        file=RESOLVING,
        old="record.j == 1 and record.a or record.a + 1",
        new="record.a + 1",
        rule="A try that was never sent keeps its number.",
        tests=MODEL,
    ),
    Mutant(
        file=FAILURE,
        old='record.j = state == "waiting" and 1 or nil',
        new="record.j = nil",
        rule="A try that waited when its message was held keeps its number.",
        tests=("tests/contract/test_claim.py::test_a_try_that_was_held_before_it_left_keeps_its_number",),
    ),
    Mutant(
        file=RESOLVING,
        old="due <= record.x * 1000",
        new="options.first <= record.x * 1000",
        rule="No release of many passes a deadline.",
        tests=(
            LISTS + "test_a_release_in_groups_is_staggered_as_a_whole_and_passes_no_deadline[valkey]",
            *MODEL,
        ),
    ),
    Mutant(
        file=RESOLVING,
        old="record.q = options.even_stale and 2 or nil",
        new="record.q = 2",
        rule="What is released keeps its deadline, but for --even-stale.",
        tests=("tests/contract/test_claim.py::test_a_released_retry_waits_for_the_end_of_a_pause",),
    ),
)

INCIDENTS = tuple(
    Mutant(
        file=OUTCOMES,
        old=old,
        new=new,
        rule="A try that was never sent keeps its number under an incident.",
        tests=(
            "tests/contract/test_brake.py::test_a_try_that_never_left_keeps_its_number_under_an_incident",
        ),
    )
    for old, new in [
        ('unsent = unsent or (record.s == "held" and record.j == 1)\n', "\n"),
        ("record.g, record.j = group, unsent and 1 or nil", "record.g, record.j = group, nil"),
        ("record.g, record.j = group, unsent and 1 or nil", "record.g, record.j = group, 1"),
        ("    record.j = unsent and 1 or record.j -- so an incident's undo may hold it again\n", ""),
    ]
) + tuple(
    Mutant(
        file=FAILURE,
        old=old,
        new=new,
        rule="A try that was never sent keeps its number under an incident.",
        tests=(
            "tests/contract/test_brake.py::test_a_try_that_never_left_keeps_its_number_under_an_incident",
        ),
    )
    for old, new in [
        ('end_suppressed(event, state == "waiting")', "end_suppressed(event, false)"),
        (
            'hold_for_incident(event, refusal(event), state == "waiting")',
            "hold_for_incident(event, refusal(event), false)",
        ),
    ]
)

NOTICES = (
    Mutant(
        file="store/lua/accept/arrived.lua",
        old="tries = is_to_come and record.a - 1 or record.a",
        new="tries = record.a",
        rule="recovered counts no try that is still to come.",
        tests=MODEL,
    ),
    Mutant(
        file="store/lua/accept/arrived.lua",
        old=' or old_state == "held" and record.j == 1',
        new="",
        rule="recovered counts no try that a crash loop or a hold kept back.",
        tests=(
            "tests/contract/test_claim.py::test_recovered_counts_no_try_that_a_crash_loop_kept_back[fakeredis]",
        ),
    ),
    Mutant(
        file=CLAIMING,
        old='notify("recovered", id, "0", { tries = record.a - 1,',
        new='notify("recovered", id, "0", { tries = record.a,',
        rule="recovered of a retry that was due says the tries before it.",
        tests=("tests/contract/test_claim.py::test_recovered_of_what_was_due_says_the_tries_before_it",),
    ),
    Mutant(
        file=CLAIMING,
        old="case = case, tries = record.a - 1 }",
        new="case = case, tries = record.a }",
        rule="given_up of a retry that came too late says the tries before it.",
        tests=MODEL,
    ),
    Mutant(
        file=OUTCOMES,
        old="why = why, case = event.case, tries = record.a }",
        new="why = why, case = event.case, tries = record[event.rule.kind] or 0 }",
        rule="given_up says how many tries left, whatever the faults.",
        tests=("tests/contract/test_accept.py::test_given_up_says_how_many_tries_left_whatever_the_faults",),
    ),
    Mutant(
        file="store/lua/accept/soft_bounces.lua",
        old=" and (not known.x or newest - known.x > soft.within)",
        new=" and not known.x",
        rule="A recipient is escalated again after the window.",
        tests=(
            "tests/contract/test_accept.py::test_three_messages_on_three_days_are_escalated_once[valkey]",
            *MODEL,
        ),
    ),
    Mutant(
        file="store/lua/accept/soft_bounces.lua",
        old=" and (not known.x or newest - known.x > soft.within)",
        new="",
        rule="A recipient is escalated once per window.",
        tests=MODEL,
    ),
    Mutant(
        file="store/lua/accept/evidence.lua",
        old="list[1][2] < newest - within",
        new="list[1][2] < newest - within * 1000",
        rule="A window of soft bounces ends.",
        tests=("tests/contract/test_accept.py::test_the_window_of_soft_bounces_ends_at_the_newest",),
    ),
    Mutant(
        file="store/lua/accept/arrived.lua",
        old="    if item[2] > at then\n",
        new="    if item[2] > now then\n",
        rule="An arrival clears the bounces before it, and none that came after.",
        tests=(
            "tests/contract/test_accept.py::test_a_late_report_of_a_delivery_clears_nothing_that_came_after_it",
            *MODEL,
        ),
    ),
)

SWEEP = (
    Mutant(
        file="store/lua/shared/history.lua",
        old="if not string.find(line, own, 1, true) then",
        new="if false then",
        rule="A sweep of one of two deliveries of a message keeps the other's history.",
        tests=(
            CLAIM + "test_a_sweep_of_one_of_two_deliveries_keeps_the_history_of_the_other[valkey]",
            *MODEL,
        ),
    ),
    Mutant(
        file="store/lua/sweep.lua",
        old='        zrem(members, record.g .. "\\n\\n" .. id)\n',
        new="",
        rule="A held delivery that expires leaves no member behind.",
        tests=MODEL,
    ),
    Mutant(
        file="store/lua/sweep.lua",
        old="      leave_cases(id)\n",
        new="",
        rule="A delivery that is swept leaves the cases that only show it.",
        tests=("tests/contract/test_accept.py::test_what_is_swept_leaves_the_case_that_showed_it",),
    ),
    Mutant(
        file="store/lua/sweep.lua",
        old="if since and now - since < options.dedupe then",
        new="if since and now - since < options.dedupe / 1000 then",
        rule="What arrived and never failed is known for the whole dedupe period.",
        tests=(
            "tests/contract/test_seen.py::test_what_arrived_is_known_for_the_dedupe_period_and_forgotten_after_two",
            *MODEL,
        ),
    ),
    Mutant(
        file="store/lua/sweep.lua",
        old='"delivered_before", redis.call("HGET", meta, "delivered") or 0, "delivered", 0)',
        new='"delivered", 0)',
        rule="What arrived in the generation before is still known.",
        tests=(
            "tests/contract/test_seen.py::test_what_arrived_is_known_for_the_dedupe_period_and_forgotten_after_two",
            *MODEL,
        ),
    ),
)

LINE = (
    Mutant(
        file=CLAIMING,
        old='redis.call("ZCARD", schedule) + redis.call("ZCARD", ready) > 0',
        new='redis.call("ZCARD", schedule) > 0',
        rule="Seven hours in which everything stands in line raise the alarm.",
        tests=(CLAIM + "test_seven_hours_in_which_everything_stands_in_line_raise_the_alarm[valkey-True]",),
    ),
    Mutant(
        file="store/lua/claim/queue.lua",
        old="line.turn = math.max(line.turn + 1, lowest or 0)",
        new="line.turn = line.turn + 1",
        rule="A merchant that was off has no turns to catch up.",
        tests=(CLAIM + "test_a_merchant_that_was_off_has_no_turns_to_catch_up[valkey-off]",),
    ),
    Mutant(
        file="store/lua/claim/read.lua",
        old=" and not is_read[id]",
        new="",
        rule="What stands in line twice is leased once.",
        tests=(CLAIM + "test_what_stands_in_line_twice_leaves_once[valkey]", *MODEL),
    ),
    Mutant(
        file="store/retries.py",
        old=" if score is None]",
        new="]",
        rule="What stands in line and was scheduled anew is listed once.",
        tests=(CLAIM + "test_what_stands_in_line_twice_leaves_once[valkey]", *MODEL),
    ),
)

MUTANTS = (
    *RECIPIENTS,
    *DEADLINES,
    *RESCHEDULE,
    *STRIKES,
    *HURRY,
    *RELEASES,
    *INCIDENTS,
    *NOTICES,
    *SWEEP,
    *LINE,
)
