/* The other side of every ratio in scripts/bench: what a C program gets from the same token, with nothing in between.
 *
 *     loop MODULE TOKEN sign rsa|ec|hmac THREADS SECONDS    signatures per second, C_SignInit + C_Sign per signature
 *     loop MODULE TOKEN issue COUNT                    seconds, one a line: P-256 pair made on the token + two signatures
 *     loop MODULE TOKEN scan LABEL COUNT               seconds, one a line: one search for a certificate by its label
 *     loop MODULE TOKEN fill COUNT FILE OTHERS         COUNT certificates "bench-N" from FILE, OTHERS data objects
 *
 * The user PIN is the first line of standard input; LOOP_INIT is for a module that wants an init string. Functions are
 * called by their place in CK_FUNCTION_LIST (PKCS#11 v2.40, section 3.6).
 */
#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

typedef unsigned long ulong_t;
typedef struct { ulong_t type; void *value; ulong_t length; } attribute_t;
typedef struct { ulong_t mechanism; void *parameter; ulong_t length; } mechanism_t;
typedef struct { void *create, *destroy, *lock, *unlock; ulong_t flags; void *reserved; } initialize_t;
typedef ulong_t (*function_t)();

enum {
    C_Initialize = 0, C_Finalize = 1, C_GetSlotList = 4, C_GetTokenInfo = 6, C_OpenSession = 12, C_Login = 18,
    C_CreateObject = 20, C_DestroyObject = 22, C_FindObjectsInit = 26, C_FindObjects = 27, C_FindObjectsFinal = 28,
    C_SignInit = 42, C_Sign = 43, C_GenerateKeyPair = 59,
};
enum { CKO_DATA = 0, CKO_CERTIFICATE = 1, CKO_PRIVATE_KEY = 3, CKO_SECRET_KEY = 4 };
enum { CKK_RSA = 0, CKK_EC = 3, CKK_GENERIC_SECRET = 0x10 };
enum { CKM_RSA_PKCS = 0x1, CKM_SHA_1_HMAC = 0x221, CKM_EC_KEY_PAIR_GEN = 0x1040, CKM_ECDSA = 0x1041 };
enum {
    CKA_CLASS = 0x0, CKA_TOKEN = 0x1, CKA_PRIVATE = 0x2, CKA_LABEL = 0x3, CKA_VALUE = 0x11, CKA_CERTIFICATE_TYPE = 0x80,
    CKA_KEY_TYPE = 0x100, CKA_SUBJECT = 0x101, CKA_ID = 0x102, CKA_SENSITIVE = 0x103, CKA_SIGN = 0x108,
    CKA_VERIFY = 0x10a, CKA_EXTRACTABLE = 0x162, CKA_EC_PARAMS = 0x180,
};

static function_t *call;
static ulong_t slot;
static unsigned char yes = 1, no = 0;

static void must(ulong_t result, const char *what) {
    if (result) {
        fprintf(stderr, "%s: 0x%lx\n", what, result);
        exit(1);
    }
}

static double now(void) {
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    return at.tv_sec + at.tv_nsec * 1e-9;
}

static void load(const char *module, const char *label) {
    void *library = dlopen(module, RTLD_NOW);
    ulong_t (*get)(void *) = library ? (ulong_t (*)(void *))dlsym(library, "C_GetFunctionList") : NULL;
    char *list;
    must(!get || get(&list), module);
    call = (function_t *)(list + sizeof(void *));
    initialize_t os_locking = {.flags = 2, .reserved = getenv("LOOP_INIT")};
    must(call[C_Initialize](&os_locking), "C_Initialize");
    ulong_t slots[64], count = 64;
    must(call[C_GetSlotList](1, slots, &count), "C_GetSlotList");
    for (ulong_t i = 0; i < count; i++) {
        char info[512];
        must(call[C_GetTokenInfo](slots[i], info), "C_GetTokenInfo");
        if (!strncmp(info, label, strlen(label)) && info[strlen(label)] == ' ') {
            slot = slots[i];
            return;
        }
    }
    must(1, "no such token");
}

static ulong_t open_session(void) {
    ulong_t session;
    must(call[C_OpenSession](slot, 6UL, NULL, NULL, &session), "C_OpenSession");
    return session;
}

static ulong_t logged_in_session(void) {
    char pin[256];
    must(!fgets(pin, sizeof pin, stdin), "no PIN on standard input");
    pin[strcspn(pin, "\n")] = 0;
    ulong_t session = open_session();
    must(call[C_Login](session, 1UL, pin, (ulong_t)strlen(pin)), "C_Login");
    return session;
}

static ulong_t find(ulong_t session, attribute_t *template, ulong_t attributes) {
    ulong_t handle, count;
    must(call[C_FindObjectsInit](session, template, attributes), "C_FindObjectsInit");
    must(call[C_FindObjects](session, &handle, 1UL, &count) || !count, "C_FindObjects");
    must(call[C_FindObjectsFinal](session), "C_FindObjectsFinal");
    return handle;
}

/* What is signed: a DigestInfo with SHA-256, such a digest alone, or the counter of a one-time password. */
typedef struct { const char *name; ulong_t class, key_type, mechanism, bytes; } kind_t;
static const kind_t KINDS[] = {
    {"rsa", CKO_PRIVATE_KEY, CKK_RSA, CKM_RSA_PKCS, 51},
    {"ec", CKO_PRIVATE_KEY, CKK_EC, CKM_ECDSA, 32},
    {"hmac", CKO_SECRET_KEY, CKK_GENERIC_SECRET, CKM_SHA_1_HMAC, 8},
};

static const kind_t *kind_called(const char *name) {
    for (size_t i = 0; i < sizeof KINDS / sizeof *KINDS; i++)
        if (!strcmp(KINDS[i].name, name)) return &KINDS[i];
    must(1, name);
    return NULL;
}

static void sign_once(ulong_t session, const kind_t *kind, ulong_t key) {
    static const unsigned char data[51] = {7};
    unsigned char signature[512];
    ulong_t length = sizeof signature;
    mechanism_t mechanism = {kind->mechanism, NULL, 0};
    must(call[C_SignInit](session, &mechanism, key), "C_SignInit");
    must(call[C_Sign](session, data, kind->bytes, signature, &length), "C_Sign");
}

typedef struct { const kind_t *kind; double seconds; ulong_t signatures; } signer_t;

static void *sign_for(void *argument) {
    signer_t *signer = argument;
    ulong_t session = open_session();
    kind_t kind = *signer->kind;
    attribute_t template[] = {{CKA_CLASS, &kind.class, sizeof(ulong_t)}, {CKA_KEY_TYPE, &kind.key_type, sizeof(ulong_t)}};
    ulong_t key = find(session, template, 2);
    double start = now();
    for (double end = start + signer->seconds; now() < end; signer->signatures++)
        sign_once(session, signer->kind, key);
    signer->seconds = now() - start; /* more than asked for: some tokens make only a few a second */
    return NULL;
}

static void sign(const kind_t *kind, int threads, double seconds) {
    pthread_t thread[64];
    signer_t signer[64];
    double rate = 0;
    for (int i = 0; i < threads; i++) {
        signer[i] = (signer_t){kind, seconds, 0};
        pthread_create(&thread[i], NULL, sign_for, &signer[i]);
    }
    for (int i = 0; i < threads; i++) {
        pthread_join(thread[i], NULL);
        rate += signer[i].signatures / signer[i].seconds;
    }
    printf("%.3f\n", rate);
}

static void issue(ulong_t session, int count) {
    unsigned char p256[] = {0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07};
    mechanism_t generate = {CKM_EC_KEY_PAIR_GEN, NULL, 0};
    for (int i = 0; i < count; i++) {
        char label[32];
        ulong_t length = sprintf(label, "c-%08d", i), public_key, private_key;
        attribute_t public_template[] = {{CKA_TOKEN, &yes, 1}, {CKA_LABEL, label, length}, {CKA_ID, label, length},
                                         {CKA_VERIFY, &yes, 1}, {CKA_EC_PARAMS, p256, sizeof p256}};
        attribute_t private_template[] = {{CKA_TOKEN, &yes, 1}, {CKA_LABEL, label, length}, {CKA_ID, label, length},
                                          {CKA_PRIVATE, &yes, 1}, {CKA_SENSITIVE, &yes, 1}, {CKA_EXTRACTABLE, &no, 1},
                                          {CKA_SIGN, &yes, 1}};
        double start = now();
        must(call[C_GenerateKeyPair](session, &generate, public_template, 5UL, private_template, 7UL, &public_key,
                                     &private_key), "C_GenerateKeyPair");
        sign_once(session, kind_called("ec"), private_key);
        sign_once(session, kind_called("ec"), private_key);
        printf("%.9f\n", now() - start);
        must(call[C_DestroyObject](session, public_key), "C_DestroyObject");
        must(call[C_DestroyObject](session, private_key), "C_DestroyObject");
    }
}

static void scan(ulong_t session, char *label, int count) {
    ulong_t certificate = CKO_CERTIFICATE;
    attribute_t template[] = {{CKA_CLASS, &certificate, sizeof(ulong_t)}, {CKA_LABEL, label, strlen(label)}};
    for (int i = 0; i < count; i++) {
        double start = now();
        find(session, template, 2);
        printf("%.9f\n", now() - start);
    }
}

static void fill(ulong_t session, int certificates, const char *path, int others) {
    static unsigned char der[65536];
    FILE *file = fopen(path, "rb");
    must(!file, path);
    ulong_t size = fread(der, 1, sizeof der, file), handle, x509 = 0, classes[] = {CKO_CERTIFICATE, CKO_DATA};
    for (int i = 0; i < certificates + others; i++) {
        char label[32];
        ulong_t length = sprintf(label, i < certificates ? "bench-%d" : "other-%d", i);
        attribute_t template[] = {{CKA_CLASS, &classes[i >= certificates], sizeof(ulong_t)}, {CKA_TOKEN, &yes, 1},
                                  {CKA_PRIVATE, &no, 1}, {CKA_LABEL, label, length}, {CKA_VALUE, der, size},
                                  {CKA_ID, label, length}, {CKA_CERTIFICATE_TYPE, &x509, sizeof x509},
                                  {CKA_SUBJECT, "0", 2}};
        must(call[C_CreateObject](session, template, i < certificates ? 8UL : 5UL, &handle), "C_CreateObject");
    }
}

int main(int count, char **argument) {
    must(count < 5, "usage: see the top of loop.c");
    load(argument[1], argument[2]);
    ulong_t session = logged_in_session();
    char *verb = argument[3];
    if (!strcmp(verb, "sign"))
        sign(kind_called(argument[4]), atoi(argument[5]), atof(argument[6]));
    else if (!strcmp(verb, "issue"))
        issue(session, atoi(argument[4]));
    else if (!strcmp(verb, "scan"))
        scan(session, argument[4], atoi(argument[5]));
    else if (!strcmp(verb, "fill"))
        fill(session, atoi(argument[4]), argument[5], atoi(argument[6]));
    must(call[C_Finalize](NULL), "C_Finalize");
    return 0;
}
