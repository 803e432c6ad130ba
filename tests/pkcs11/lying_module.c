/* A PKCS#11 module that passes everything on to the one named by LYING_OVER and tells the lies named by the lines of the
   file LYING_FILE, read again at every call that can lie. Built by the fixture ``liar``. */
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef unsigned long CK_ULONG;
typedef CK_ULONG CK_RV;
enum { FUNCTIONS = 68 };
enum { GET_FUNCTION_LIST = 3, GET_SLOT_LIST = 4, GET_TOKEN_INFO = 6, GET_MECHANISM_LIST = 7, OPEN_SESSION = 12,
       CLOSE_SESSION = 13, GET_ATTRIBUTE_VALUE = 24, FIND_OBJECTS = 27, SIGN = 43, GENERATE_KEY_PAIR = 59 };
enum { CKA_CLASS = 0, CKA_KEY_TYPE = 0x100, CKF_LOGIN_REQUIRED = 4, LABEL_AT = 0, SERIAL_AT = 80, FLAGS_AT = 96 };
enum { CKF_USER_PIN_FINAL_TRY = 0x20000, CKF_USER_PIN_LOCKED = 0x40000, CKF_USER_PIN_TO_BE_CHANGED = 0x80000,
       CKF_SO_PIN_LOCKED = 0x400000, CKM_ECDSA_SHA256 = 0x1044 };
enum { CKR_GENERAL_ERROR = 0x5, CKR_SESSION_COUNT = 0xB1, CKR_BUFFER_TOO_SMALL = 0x150 };

struct attribute { CK_ULONG type; void *value; CK_ULONG length; };
struct list { unsigned char version[2]; void *functions[FUNCTIONS]; };
static struct list own, *real;
static int sessions;

static int lie(const char *name)
{
    char said[64];
    int found = 0;
    FILE *file = fopen(getenv("LYING_FILE"), "r");
    while (file && !found && fgets(said, sizeof said, file)) {
        said[strcspn(said, "\n")] = 0;
        found = !strcmp(said, name);
    }
    if (file) fclose(file);
    return found;
}

static CK_RV get_slot_list(unsigned char present, CK_ULONG *slots, CK_ULONG *count)
{
    CK_RV rv = ((CK_RV (*)(unsigned char, CK_ULONG *, CK_ULONG *))real->functions[GET_SLOT_LIST])(present, slots, count);
    if (lie("slots") && !slots) *count = ~0UL >> 8;
    if (lie("slots grow") && slots) { ++*count; return CKR_BUFFER_TOO_SMALL; }
    if (lie("slots twice") && slots && *count > 1) slots[*count - 1] = slots[0]; /* the last one is empty */
    return rv;
}

static CK_RV get_token_info(CK_ULONG slot, char *info)
{
    CK_RV rv = ((CK_RV (*)(CK_ULONG, char *))real->functions[GET_TOKEN_INFO])(slot, info);
    CK_ULONG *flags = (CK_ULONG *)(info + FLAGS_AT);
    if (rv) return rv;
    if (lie("no login")) *flags &= ~(CK_ULONG)CKF_LOGIN_REQUIRED;
    if (lie("final try")) *flags |= CKF_USER_PIN_FINAL_TRY;
    if (lie("locked")) *flags |= CKF_USER_PIN_LOCKED;
    if (lie("to be changed")) *flags |= CKF_USER_PIN_TO_BE_CHANGED;
    if (lie("officer locked")) *flags |= CKF_SO_PIN_LOCKED;
    if (lie("deaf token") && strstr(info + LABEL_AT, "deaf")) return CKR_GENERAL_ERROR;
    if (lie("slow token")) sleep(30);
    if (lie("label ends early")) memcpy(info + LABEL_AT, "early\0rubbish\xff\xfe", 16);
    if (lie("label is not UTF-8")) memset(info + LABEL_AT, 0xFF, 32);
    if (lie("label has half a pair")) memcpy(info + LABEL_AT, "half \xed\xa0\x80 pair", 13);
    if (lie("label moves the cursor")) memcpy(info + LABEL_AT, "\x1b[2J\x1b[1;31mboo\r\n\xc2\x9b", 18);
    if (lie("label is blank")) memset(info + LABEL_AT, ' ', 32);
    if (lie("label is the same")) memcpy(info + LABEL_AT, "the same                        ", 32);
    if (lie("serial is blank")) memset(info + SERIAL_AT, ' ', 16);
    if (lie("serial is the same")) memset(info + SERIAL_AT, '1', 16);
    return rv;
}

static CK_RV get_attribute_value(CK_ULONG session, CK_ULONG object, struct attribute *array, CK_ULONG count)
{
    int refuse = 0;
    CK_RV rv;
    for (CK_ULONG i = 0; i < count; i++)
        if ((array[i].type == CKA_CLASS || array[i].type == CKA_KEY_TYPE) && array[i].value)
            refuse |= lie("numbers") && array[i].length != sizeof(CK_ULONG);
    rv = ((CK_RV (*)(CK_ULONG, CK_ULONG, struct attribute *, CK_ULONG))real->functions[GET_ATTRIBUTE_VALUE])(
        session, object, array, count);
    if (lie("attributes are huge") || lie("attributes are longer than their room")) {
        for (CK_ULONG i = 0; i < count; i++) array[i].length = 1UL << 40;
        return lie("attributes are huge") ? CKR_BUFFER_TOO_SMALL : rv;
    }
    if (lie("attributes shrink")) {
        for (CK_ULONG i = 0; i < count; i++) array[i].length = array[i].value ? 1 : 4000;
        return rv ? rv : array[0].value && array[0].length == 512 ? CKR_BUFFER_TOO_SMALL : 0;
    }
    if (lie("attributes never fit")) {
        for (CK_ULONG i = 0; i < count; i++) array[i].length = 5000;
        return CKR_BUFFER_TOO_SMALL;
    }
    for (CK_ULONG i = 0; refuse && i < count; i++)
        if (array[i].type == CKA_CLASS || array[i].type == CKA_KEY_TYPE) array[i].length = ~0UL;
    return rv;
}

static CK_RV get_mechanism_list(CK_ULONG slot, CK_ULONG *list, CK_ULONG *count)
{
    CK_RV rv = ((CK_RV (*)(CK_ULONG, CK_ULONG *, CK_ULONG *))real->functions[GET_MECHANISM_LIST])(slot, list, count);
    if (lie("mechanisms") && !list) *count = ~0UL >> 8;
    if (lie("mechanisms grow") && list) { ++*count; return CKR_BUFFER_TOO_SMALL; }
    if (lie("no mechanisms")) { *count = 0; return 0; }
    if (lie("another mechanism") && list && *count) list[0] = CKM_ECDSA_SHA256;
    return rv;
}

static CK_RV open_session(CK_ULONG slot, CK_ULONG flags, void *app, void *notify, CK_ULONG *handle)
{
    CK_RV rv;
    if (lie("sessions") && sessions >= 2) return CKR_SESSION_COUNT;
    rv = ((CK_RV (*)(CK_ULONG, CK_ULONG, void *, void *, CK_ULONG *))real->functions[OPEN_SESSION])(slot, flags, app,
                                                                                               notify, handle);
    if (!rv) __sync_fetch_and_add(&sessions, 1);
    return rv;
}

static CK_RV close_session(CK_ULONG handle)
{
    CK_RV rv = ((CK_RV (*)(CK_ULONG))real->functions[CLOSE_SESSION])(handle);
    if (!rv) __sync_fetch_and_sub(&sessions, 1);
    return rv;
}

static CK_RV find_objects(CK_ULONG session, CK_ULONG *found, CK_ULONG room, CK_ULONG *count)
{
    CK_RV rv = ((CK_RV (*)(CK_ULONG, CK_ULONG *, CK_ULONG, CK_ULONG *))real->functions[FIND_OBJECTS])(session, found,
                                                                                                   room, count);
    if (lie("objects")) *count = room;
    if (lie("more objects than asked for")) *count = room + 1000000;
    if (lie("one object for ever") && room) {
        static CK_ULONG first;
        if (*count) first = found[0];
        found[0] = first;
        *count = 1;
    }
    if (lie("new objects for ever")) {
        static CK_ULONG next = 1UL << 32;
        for (*count = 0; *count < room; ++*count) found[*count] = ++next;
    }
    return rv;
}

static CK_RV sign(CK_ULONG session, void *data, CK_ULONG size, void *signature, CK_ULONG *length)
{
    CK_RV rv = ((CK_RV (*)(CK_ULONG, void *, CK_ULONG, void *, CK_ULONG *))real->functions[SIGN])(session, data, size,
                                                                                              signature, length);
    if (lie("signature")) *length = 1UL << 40;
    if (lie("room")) { *length = ~0UL; return CKR_BUFFER_TOO_SMALL; }
    if (lie("long signature")) *length = 300;
    if (lie("no signature")) *length = 0;
    return rv;
}

static CK_RV generate_key_pair(CK_ULONG session, void *mechanism, void *public, CK_ULONG publics, void *private,
                               CK_ULONG privates, CK_ULONG *first, CK_ULONG *second)
{
    CK_RV rv = ((CK_RV (*)(CK_ULONG, void *, void *, CK_ULONG, void *, CK_ULONG, CK_ULONG *, CK_ULONG *))
                real->functions[GENERATE_KEY_PAIR])(session, mechanism, public, publics, private, privates, first, second);
    return lie("pair") ? CKR_GENERAL_ERROR : rv;
}

CK_RV C_GetFunctionList(struct list **list)
{
    void *library = dlopen(getenv("LYING_OVER"), RTLD_NOW | RTLD_LOCAL);
    CK_RV (*get)(struct list **) = library ? (CK_RV (*)(struct list **))dlsym(library, "C_GetFunctionList") : NULL;
    if (!get || get(&real)) return CKR_GENERAL_ERROR;
    own = *real;
    own.functions[GET_FUNCTION_LIST] = (void *)C_GetFunctionList;
    own.functions[GET_SLOT_LIST] = (void *)get_slot_list;
    own.functions[GET_MECHANISM_LIST] = (void *)get_mechanism_list;
    own.functions[GET_TOKEN_INFO] = (void *)get_token_info;
    own.functions[GET_ATTRIBUTE_VALUE] = (void *)get_attribute_value;
    own.functions[OPEN_SESSION] = (void *)open_session;
    own.functions[CLOSE_SESSION] = (void *)close_session;
    own.functions[FIND_OBJECTS] = (void *)find_objects;
    own.functions[SIGN] = (void *)sign;
    own.functions[GENERATE_KEY_PAIR] = (void *)generate_key_pair;
    *list = &own;
    return 0;
}
