"""What an authority says of its certificates: OCSP answers, complete and delta lists, its own certificates.

    answer = Responder(authority).answer(request_der)

The door that speaks HTTP is in ``centre/doors``; here are bytes in and bytes out.
"""
