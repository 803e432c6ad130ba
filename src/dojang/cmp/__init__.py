"""CMP on the wire (RFC 9810): messages read and written, protected and checked; no files, no sockets, no records.

message = read_message(request_der)
answer_der = write_message(header, body, protector)
"""
