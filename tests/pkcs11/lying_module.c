/* A PKCS#11 module that passes everything on to the one named by LYING_OVER and tells the lie named by the file
   LYING_FILE, read again at every call that can lie. Built by test_lying_module.py. */
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef unsigned long CK_ULONG;
typedef CK_ULONG CK_RV;
enum { FUNCTIONS = 68 };
enum { GET_FUNCTION_LIST = 3, GET_SLOT_LIST = 4, GET_TOKEN_INFO = 6, GET_MECHANISM_LIST = 7, OPEN_SESSION = 12,
       CLOSE_SESSION = 13, GET_ATTRIBUTE_VALUE = 24, FIND_OBJECTS = 27, SIGN = 43, GENERATE_KEY_PAIR = 59 };
enum { CKA_CLASS = 0, CKA_KEY_TYPE = 0x100, CKF_LOGIN_REQUIRED = 4, FLAGS_AT = 96 };
enum { CKR_GENERAL_ERROR = 0x5, CKR_SESSION_COUNT = 0xB1, CKR_BUFFER_TOO_SMALL = 0x150 };

struct attribute { CK_ULONG type; void *value; CK_ULONG length; };
struct list { unsigned char version[2]; void *functions[FUNCTIONS]; };
static struct list own, *real;
static int sessions;

static int lie(const char *name)
{
    char said[64] = "";
    FILE *file = fopen(getenv("LYING_FILE"), "r");
    if (file) {
        if (!fgets(said, sizeof said, file)) said[0] = 0;
        fclose(file);
    }
    return !strcmp(said, name);
}

static CK_RV get_slot_list(unsigned char present, CK_ULONG *slots, CK_ULONG *count)
{
    CK_RV rv = ((CK_RV (*)(unsigned char, CK_ULONG *, CK_ULONG *))real->functions[GET_SLOT_LIST])(present, slots, count);
    if (lie("slots") && !slots) *count = ~0UL >> 8;
    return rv;
}

static CK_RV get_token_info(CK_ULONG slot, char *info)
{
    CK_RV rv = ((CK_RV (*)(CK_ULONG, char *))real->functions[GET_TOKEN_INFO])(slot, info);
    if (!rv && lie("no login")) *(CK_ULONG *)(info + FLAGS_AT) &= ~(CK_ULONG)CKF_LOGIN_REQUIRED;
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
    for (CK_ULONG i = 0; refuse && i < count; i++)
        if (array[i].type == CKA_CLASS || array[i].type == CKA_KEY_TYPE) array[i].length = ~0UL;
    return rv;
}

static CK_RV get_mechanism_list(CK_ULONG slot, CK_ULONG *list, CK_ULONG *count)
{
    CK_RV rv = ((CK_RV (*)(CK_ULONG, CK_ULONG *, CK_ULONG *))real->functions[GET_MECHANISM_LIST])(slot, list, count);
    if (lie("mechanisms") && !list) *count = ~0UL >> 8;
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
    return rv;
}

static CK_RV sign(CK_ULONG session, void *data, CK_ULONG size, void *signature, CK_ULONG *length)
{
    CK_RV rv = ((CK_RV (*)(CK_ULONG, void *, CK_ULONG, void *, CK_ULONG *))real->functions[SIGN])(session, data, size,
                                                                                              signature, length);
    if (lie("signature")) *length = 1UL << 40;
    if (lie("room")) { *length = ~0UL; return CKR_BUFFER_TOO_SMALL; }
    if (lie("long signature")) *length = 300;
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
