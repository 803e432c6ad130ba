"""The table of all commands: where each one is and its line of help. Nothing is imported to show a help page."""

from dojang.cli.frame import Entry, LazyGroup, Section
from dojang.cli.language import N_

TOKEN_PIN = Section(
    N_("Change a PIN, or set a new one with the SO PIN."),
    {
        "change": Entry("dojang.cli.token_pin:change", N_("Replace the user PIN.")),
        "unblock": Entry("dojang.cli.token_pin:unblock", N_("Set a new user PIN with the SO PIN.")),
    },
)

TOKEN = Section(
    N_("Tokens: list, look at, watch, initialise, PINs, wipe."),
    {
        "list": Entry("dojang.cli.token:list_", N_("List the tokens that are present.")),
        "show": Entry("dojang.cli.token:show", N_("Show one token: flags, PIN state, mechanisms.")),
        "init": Entry("dojang.cli.token:init", N_("Initialise an empty slot: label, SO PIN, user PIN.")),
        "pin": TOKEN_PIN,
        "fsck": Entry("dojang.cli.token_fsck:fsck", N_("Find and remove what killed processes left.")),
        "watch": Entry("dojang.cli.token_watch:watch", N_("Tell of tokens that are put in or taken out.")),
        "wipe": Entry("dojang.cli.token:wipe", N_("Destroy everything on a token.")),
    },
)

CUSTODY = Section(
    N_("A wrapping key in the hands of custodians, some of whom can bring it to another HSM."),
    {
        "split": Entry("dojang.cli.custody:split", N_("Make a wrapping key and hand out its shares.")),
        "join": Entry("dojang.cli.custody:join", N_("Bring the key that shares make to an HSM.")),
    },
)

KEY = Section(
    N_("Keys on tokens: generate, list, look at, delete, take in, back up."),
    {
        "generate": Entry("dojang.cli.key:generate", N_("Make a key pair that never leaves the token.")),
        "list": Entry("dojang.cli.key:list_", N_("List the private keys on a token.")),
        "show": Entry("dojang.cli.key:show", N_("Show one key and what it is allowed to do.")),
        "delete": Entry("dojang.cli.key:delete", N_("Destroy a key pair and what belongs to it.")),
        "import": Entry("dojang.cli.key_wrap:import_", N_("Bring a key out of a file to a token.")),
        "wrap": Entry("dojang.cli.key_wrap:wrap", N_("Write a key to a file, encrypted by its token.")),
        "unwrap": Entry("dojang.cli.key_wrap:unwrap", N_("Bring a wrapped key to a token.")),
        "custody": CUSTODY,
    },
)

CA_SIGNER = Section(
    N_("The keys of an authority: list them, add and renew those that work for it."),
    {
        "list": Entry("dojang.cli.ca_signer:list_", N_("List an authority's keys and what each does.")),
        "add": Entry("dojang.cli.ca_signer:add", N_("Certify a key for OCSP, time stamps, CMP or the audit record.")),
        "renew": Entry("dojang.cli.ca_signer:renew", N_("Renew the certificates of those keys.")),
    },
)

CA_ROLLOVER = Section(
    N_("Give an authority its next key, without a gap."),
    {
        "prepare": Entry("dojang.cli.ca_rollover:prepare", N_("Make, certify and publish the next key.")),
        "switch": Entry("dojang.cli.ca_rollover:switch", N_("Have the next key sign from now on.")),
        "retire": Entry("dojang.cli.ca_rollover:retire", N_("Retire the old key when nothing needs it.")),
    },
)

CA_APPLICANT = Section(
    N_("Persons and businesses that want a certificate."),
    {
        "add": Entry("dojang.cli.ca_applicant:add", N_("Add an applicant.")),
        "change": Entry("dojang.cli.ca_applicant:change", N_("Change how an applicant is reached.")),
        "list": Entry("dojang.cli.ca_applicant:list_", N_("List the applicants.")),
        "show": Entry("dojang.cli.ca_applicant:show", N_("Show an applicant, checks and enrolments.")),
    },
)

CA_CHECK = Section(
    N_("Identity checks that somebody has made."),
    {"add": Entry("dojang.cli.ca_applicant:check", N_("Put an identity check on record."))},
)

CA_CODE = Section(
    N_("Reference numbers and authorization codes."),
    {
        "new": Entry("dojang.cli.ca_code:new", N_("Make a reference number and its code, shown once.")),
        "list": Entry("dojang.cli.ca_code:list_", N_("List reference numbers and their state.")),
        "cancel": Entry("dojang.cli.ca_code:cancel", N_("Make a code worthless.")),
        "unlock": Entry("dojang.cli.ca_code:unlock", N_("Unlock one after wrong tries.")),
    },
)

CA_ENROLMENT = Section(
    N_("Who is to get which certificate, and the decisions about it."),
    {
        "list": Entry("dojang.cli.ca_enrolment:list_", N_("List enrolments.")),
        "show": Entry("dojang.cli.ca_enrolment:show", N_("Show one, and what is missing.")),
        "approve": Entry("dojang.cli.ca_enrolment:approve", N_("Approve what somebody else has registered.")),
        "refuse": Entry("dojang.cli.ca_enrolment:refuse", N_("Refuse one for good.")),
    },
)

CA_OFFICER = Section(
    N_("Whose certificates open the office, here and from afar."),
    {
        "add": Entry("dojang.cli.ca_officer:add", N_("Register an officer's certificate.")),
        "list": Entry("dojang.cli.ca_officer:list_", N_("List the officers and their roles.")),
        "remove": Entry("dojang.cli.ca_officer:remove", N_("Remove an officer.")),
    },
)

CA_JOBS = Section(
    N_("The work that an authority does from time to time."),
    {
        "list": Entry("dojang.cli.ca_jobs:list_", N_("List it: when it is due, and how it went.")),
        "run": Entry("dojang.cli.ca_jobs:run", N_("Do what is due now.")),
    },
)

CA = Section(
    N_("A local certificate authority with its key on a token."),
    {
        "init": Entry("dojang.cli.ca_init:init", N_("Set up a local authority.")),
        "show": Entry("dojang.cli.ca:show", N_("Show an authority: certificates, validity, counters.")),
        "settings": Entry("dojang.cli.ca_settings:settings", N_("Show what an authority's own file may say.")),
        "profiles": Entry("dojang.cli.ca_profiles:profiles", N_("List the certificate profiles, or show one.")),
        "list": Entry("dojang.cli.ca:list_", N_("List the certificates an authority has issued.")),
        "crl": Entry("dojang.cli.ca:crl", N_("Publish the revocation list anew.")),
        "revoke": Entry("dojang.cli.ca:revoke", N_("Revoke a certificate for good.")),
        "suspend": Entry("dojang.cli.ca:suspend", N_("Put a certificate on hold.")),
        "restore": Entry("dojang.cli.ca:restore", N_("Take a certificate off hold.")),
        "signer": CA_SIGNER,
        "rollover": CA_ROLLOVER,
        "cross-sign": Entry("dojang.cli.ca_rollover:cross_sign", N_("Certify another authority's key.")),
        "applicant": CA_APPLICANT,
        "check": CA_CHECK,
        "code": CA_CODE,
        "enrolment": CA_ENROLMENT,
        "officer": CA_OFFICER,
        "jobs": CA_JOBS,
    },
)

CERT = Section(
    N_("Certificates: issue, install, list, look at, reissue, revoke, delete."),
    {
        "issue": Entry("dojang.cli.cert:issue", N_("Make a key, have it certified and install the certificate.")),
        "prove": Entry("dojang.cli.cert_prove:prove", N_("Pass factors for a key that another program will certify.")),
        "request": Entry("dojang.cli.cert:request", N_("Make a key and write a certificate request.")),
        "install": Entry("dojang.cli.cert:install", N_("Install a certificate beside its key.")),
        "list": Entry("dojang.cli.cert:list_", N_("List certificates.")),
        "show": Entry("dojang.cli.cert:show", N_("Show one certificate.")),
        "reissue": Entry("dojang.cli.reissue:reissue", N_("Replace one whose key or password is lost.")),
        "revoke": Entry("dojang.cli.revoke:revoke", N_("Have a certificate revoked for good.")),
        "register": Entry("dojang.cli.register:register", N_("Accept a certificate that another institution issued.")),
        "delete": Entry("dojang.cli.cert:delete", N_("Destroy a certificate and its key.")),
    },
)

RENEW = Section(
    N_("Renew certificates before they expire."),
    {
        "now": Entry("dojang.cli.renew:now", N_("Renew one certificate.")),
        "due": Entry("dojang.cli.renew:due", N_("List what is due for renewal.")),
        "run": Entry("dojang.cli.renew:run", N_("Renew everything that is due.")),
        "daemon": Entry("dojang.cli.renew_daemon:daemon", N_("Stay and renew each certificate at its turn.")),
        "status": Entry("dojang.cli.renew_status:status", N_("Say in one line whether all will be renewed.")),
        "unit": Entry("dojang.cli.renew_unit:unit", N_("Print a systemd unit that renews.")),
    },
)

LOCATION = Section(
    N_("Places that keep credentials: copy, move, export, import, back up."),
    {
        "list": Entry("dojang.cli.location_list:list_", N_("List the places for keys and what is there now.")),
        "show": Entry("dojang.cli.location_list:show", N_("Show one place: what it can do, its state, its room.")),
        "copy": Entry("dojang.cli.location:copy", N_("Make a second copy of a credential in another location.")),
        "move": Entry("dojang.cli.location:move", N_("Bring a credential to another location and remove it here.")),
        "export": Entry("dojang.cli.location_files:export", N_("Write a credential to a file for other programs.")),
        "import": Entry("dojang.cli.location_files:import_", N_("Bring credentials from a file into a location.")),
        "password": Entry("dojang.cli.password:password", N_("Change a password or a PIN.")),
        "backup": Entry("dojang.cli.location_backup:backup", N_("Back up credentials into one file, and try it.")),
        "restore": Entry("dojang.cli.location_backup:restore", N_("Bring a backup into a location.")),
    },
)

SIGN = Section(
    N_("Sign files."),
    {
        "raw": Entry("dojang.cli.sign:raw", N_("Make a bare signature.")),
        "cms": Entry("dojang.cli.sign:cms", N_("Make a CMS (PKCS#7) signature.")),
    },
)

AGENT = Section(
    N_("An agent that holds the login: one PIN, many commands; also for ssh and git."),
    {
        "start": Entry("dojang.cli.agent:start", N_("Start it, or have it serve further keys.")),
        "status": Entry("dojang.cli.agent:status", N_("Show what it serves.")),
        "lock": Entry("dojang.cli.agent:lock", N_("Have it forget its PINs.")),
        "stop": Entry("dojang.cli.agent:stop", N_("End it.")),
    },
)

AUDIT = Section(
    N_("The record of what an authority did: look at it, check it, keep copies of it."),
    {
        "tail": Entry("dojang.cli.audit:tail", N_("Show the last rows.")),
        "verify": Entry("dojang.cli.audit_verify:verify", N_("Find any row that was changed, removed or moved.")),
        "export": Entry("dojang.cli.audit:export", N_("Write it to a file that needs no database.")),
        "head": Entry("dojang.cli.audit:head", N_("Show or sign what tells later that nothing was removed.")),
    },
)

OTP_MESSAGE = Section(
    N_("Codes that an authority sends by message."),
    {"test": Entry("dojang.cli.otp_message:test", N_("Send a message to see that messages arrive."))},
)

OTP_CARD = Section(
    N_("Security cards: tables of codes on paper, of which two halves are asked for."),
    {
        "new": Entry("dojang.cli.otp_card:new", N_("Make a card and print it, once.")),
        "list": Entry("dojang.cli.otp_card:list_", N_("List cards and their state.")),
        "challenge": Entry("dojang.cli.otp_card:challenge", N_("Ask two halves of a card.")),
        "verify": Entry("dojang.cli.otp_card:verify", N_("Check the answer.")),
        "unlock": Entry("dojang.cli.otp_card:unlock", N_("Unlock a card after wrong answers.")),
        "delete": Entry("dojang.cli.otp_card:delete", N_("Remove a card for good.")),
    },
)

OTP_KEK = Section(
    N_("The key under which an authority keeps seeds and security cards."),
    {"rotate": Entry("dojang.cli.otp_device:rotate", N_("Bring everything under a new key."))},
)

OTP = Section(
    N_("One-time passwords: in tokens and security keys, and those that an authority checks."),
    {
        "add": Entry("dojang.cli.otp:add", N_("Put a seed into a device, or register a device.")),
        "list": Entry("dojang.cli.otp:list_", N_("List seeds, or registered devices.")),
        "code": Entry("dojang.cli.otp:code", N_("Show a code, computed in its device.")),
        "verify": Entry("dojang.cli.otp:verify", N_("Check a code; each is accepted once.")),
        "resync": Entry("dojang.cli.otp:resync", N_("Bring device and checker together again.")),
        "delete": Entry("dojang.cli.otp:delete", N_("Remove a seed, or a registered device.")),
        "challenge": Entry("dojang.cli.otp_device:challenge", N_("Ask a registered OCRA device something.")),
        "unlock": Entry("dojang.cli.otp_device:unlock", N_("Unlock a registered device after wrong codes.")),
        "suspend": Entry("dojang.cli.otp_device:suspend", N_("Accept no code of a registered device for now.")),
        "restore": Entry("dojang.cli.otp_device:restore", N_("Accept the codes of a suspended device again.")),
        "import": Entry("dojang.cli.otp_pskc:import_", N_("Register the devices of a PSKC file.")),
        "export": Entry("dojang.cli.otp_pskc:export", N_("Write seeds into a PSKC file, encrypted.")),
        "card": OTP_CARD,
        "kek": OTP_KEK,
        "message": OTP_MESSAGE,
    },
)

ROOT = Section(
    N_("Keeps the key that signs on a token, and does everything around it: issue, sign, renew."),
    {
        "doctor": Entry("dojang.cli.doctor:doctor", N_("Find out what is wrong and how to mend it.")),
        "where": Entry("dojang.cli.where:where", N_("Show where every certificate lives and how long it lasts.")),
        "token": TOKEN,
        "key": KEY,
        "ca": CA,
        "cert": CERT,
        "renew": RENEW,
        "location": LOCATION,
        "sign": SIGN,
        "otp": OTP,
        "audit": AUDIT,
        "agent": AGENT,
        "serve": Entry("dojang.cli.serve:serve", N_("Serve the certificate centre: CMP, OCSP, lists, officers.")),
        "verify": Entry("dojang.cli.verify:verify", N_("Check a signature.")),
        "completion": Entry("dojang.cli.completion:completion", N_("Print the completion script for a shell.")),
    },
)

# Names people know from Korean certificate programs.
KOREAN = {
    "발급": "cert issue",
    "갱신": "renew now",
    "재발급": "cert reissue",
    "폐기": "cert revoke",
    "등록": "cert register",
    "복사": "location copy",
}


def root() -> LazyGroup:
    """The command ``dojang`` itself."""
    return LazyGroup("dojang", ROOT, aliases={name: path for name, path in KOREAN.items() if _exists(path)})


def _exists(path: str) -> bool:
    """Whether the table has the command; an alias waits for the command it stands for."""
    found: Entry | Section | None = ROOT
    for word in path.split():
        found = found.entries.get(word) if isinstance(found, Section) else None
    return found is not None
