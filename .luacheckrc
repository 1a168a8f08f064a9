-- `make lint` checks the assembled scripts (includes pasted in), as the store sends them.
std = "lua51"
read_globals = {"redis", "cjson", "KEYS", "ARGV"}
max_line_length = 140
ignore = {"211/.*_record", "211/remember"} -- an include may bring more than a script needs
