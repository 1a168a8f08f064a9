-- `make lint` checks the assembled scripts (includes pasted in), as the store sends them.
std = "lua51"
read_globals = {"redis", "cjson", "KEYS", "ARGV"}
max_line_length = 140
ignore = { -- an include may bring more than a script needs
  "211/.*_record", "211/remember", "211/forget_history", "211/parse_payload", "211/fetch", "211/hdel", "211/z%a+", "211/xadd", "211/made_at", "211/is_active", "211/text", "211/rid_of", "211/agree", "211/reaches", "211/.*_feedback", "211/count_unanswered",
  "211/join", "211/lift", "211/is_consent", "211/causes_of", "211/write_causes",
}
