"""The keys of an authority and their generations: how each is certified, takes over, and steps down.

    signers       who there is, as the database has it
    certifying    a certificate for a key of the authority's own
    crossing      a certificate for a key that has one already: the old root's by the new, another authority's by ours
    chains        which certificates lead a subscriber from what issued his to a root that he knows
    rollover      prepare, switch, retire: the next generation of the root or of what issues, without a gap
    delegates     the keys that answer OCSP, stamp time and speak CMP, and their renewal

Every step signs first and records after that, in one transaction: a run that is killed has changed nothing, or all of
it.
"""
