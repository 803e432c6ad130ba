/* A PKCS#11 module that passes everything on to the one named by HOTP_OVER and has CKK_HOTP and CKM_HOTP as well (mechanisms
   of PKCS#11 2.40, 2.30): such a key is a generic secret below, computes nothing but HOTP above, wants its counter with
   every code, and tells its key type for as long as the process lives. HOTP_LIE names one thing that it does wrong.
   Built and run by test_hotp_keys.py. */
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef unsigned long CK_ULONG;
typedef CK_ULONG CK_RV;
enum { FUNCTIONS = 68, MOST = 64 };
enum { GET_FUNCTION_LIST = 3, GET_MECHANISM_LIST = 7, CREATE_OBJECT = 20, DESTROY_OBJECT = 22, GET_ATTRIBUTE_VALUE = 24,
       SIGN_INIT = 42, SIGN = 43, GENERATE_KEY = 58 };
enum { CKA_KEY_TYPE = 0x100, CKA_OTP_FIRST = 0x220, CKA_OTP_LENGTH = 0x221, CKA_OTP_COUNTER_REQUIREMENT = 0x226,
       CKA_OTP_LAST = 0x22F, CKK_GENERIC_SECRET = 0x10, CKK_HOTP = 0x23, CK_OTP_PARAM_MANDATORY = 2 };
enum { CKM_SHA_1_HMAC = 0x221, CKM_HOTP_KEY_GEN = 0x290, CKM_HOTP = 0x291, CKM_GENERIC_SECRET_KEY_GEN = 0x350 };
enum { CK_OTP_VALUE = 0, CK_OTP_COUNTER = 4 };
enum { CKR_GENERAL_ERROR = 0x5, CKR_ATTRIBUTE_VALUE_INVALID = 0x13, CKR_KEY_TYPE_INCONSISTENT = 0x63,
       CKR_MECHANISM_PARAM_INVALID = 0x71, CKR_BUFFER_TOO_SMALL = 0x150 };

struct attribute { CK_ULONG type; void *value; CK_ULONG length; };
struct mechanism { CK_ULONG number; void *parameter; CK_ULONG length; };
struct otp_params { struct attribute *params; CK_ULONG count; };
struct list { unsigned char version[2]; void *functions[FUNCTIONS]; };
static struct list own, *real;
static struct { CK_ULONG handle, digits; } keys[MOST];
static struct { CK_ULONG session, digits; unsigned char counter[8]; } signing[MOST];

#define CALL(index, ...) ((CK_RV (*)())real->functions[index])(__VA_ARGS__)

static int lie(const char *name)
{
    const char *said = getenv("HOTP_LIE");
    return said && !strcmp(said, name);
}

static CK_ULONG digits_of(CK_ULONG handle)
{
    for (int i = 0; i < MOST; i++)
        if (keys[i].handle == handle && keys[i].digits) return keys[i].digits;
    return 0;
}

static void note(CK_ULONG handle, CK_ULONG digits)
{
    for (int i = 0; i < MOST; i++)
        if (!keys[i].digits) { keys[i].handle = handle; keys[i].digits = digits; return; }
}

/* The template for the module below, and how many digits the codes are to have; none for a key of another type. */
static CK_ULONG translate(struct attribute *all, CK_ULONG count, struct attribute *below, CK_ULONG *left)
{
    static CK_ULONG generic = CKK_GENERIC_SECRET;
    CK_ULONG digits = 0, hotp = 0, mandatory = 0;
    *left = 0;
    for (CK_ULONG i = 0; i < count; i++) {
        CK_ULONG number = all[i].length == sizeof number ? *(CK_ULONG *)all[i].value : 0;
        if (all[i].type == CKA_KEY_TYPE) hotp = number == CKK_HOTP;
        if (all[i].type == CKA_OTP_LENGTH) digits = number;
        if (all[i].type == CKA_OTP_COUNTER_REQUIREMENT) mandatory = number == CK_OTP_PARAM_MANDATORY;
        if (all[i].type >= CKA_OTP_FIRST && all[i].type <= CKA_OTP_LAST) continue;
        below[*left] = all[i];
        if (all[i].type == CKA_KEY_TYPE && number == CKK_HOTP) below[*left].value = &generic;
        ++*left;
    }
    return hotp && mandatory ? digits : 0;
}

static CK_RV create_object(CK_ULONG session, struct attribute *all, CK_ULONG count, CK_ULONG *handle)
{
    struct attribute below[MOST];
    CK_ULONG left, digits = count <= MOST ? translate(all, count, below, &left) : 0;
    if (!digits) return CALL(CREATE_OBJECT, session, all, count, handle);
    if (lie("refuses keys")) return CKR_ATTRIBUTE_VALUE_INVALID;
    CK_RV rv = CALL(CREATE_OBJECT, session, below, left, handle);
    if (!rv) note(*handle, digits);
    return rv;
}

static CK_RV generate_key(CK_ULONG session, struct mechanism *how, struct attribute *all, CK_ULONG count, CK_ULONG *handle)
{
    struct attribute below[MOST];
    struct mechanism generic = {CKM_GENERIC_SECRET_KEY_GEN, NULL, 0};
    CK_ULONG left, digits;
    if (how->number != CKM_HOTP_KEY_GEN) return CALL(GENERATE_KEY, session, how, all, count, handle);
    digits = translate(all, count, below, &left);
    if (!digits) return CKR_ATTRIBUTE_VALUE_INVALID;
    CK_RV rv = CALL(GENERATE_KEY, session, &generic, below, left, handle);
    if (!rv) note(*handle, digits);
    return rv;
}

static CK_RV destroy_object(CK_ULONG session, CK_ULONG handle)
{
    for (int i = 0; i < MOST; i++)
        if (keys[i].handle == handle) keys[i].digits = 0;
    return CALL(DESTROY_OBJECT, session, handle);
}

static CK_RV get_attribute_value(CK_ULONG session, CK_ULONG handle, struct attribute *array, CK_ULONG count)
{
    CK_RV rv = CALL(GET_ATTRIBUTE_VALUE, session, handle, array, count);
    for (CK_ULONG i = 0; i < count; i++)
        if (array[i].type == CKA_KEY_TYPE && array[i].value && array[i].length == sizeof(CK_ULONG) && digits_of(handle))
            *(CK_ULONG *)array[i].value = CKK_HOTP;
    return rv;
}

static CK_RV get_mechanism_list(CK_ULONG slot, CK_ULONG *list, CK_ULONG *count)
{
    CK_ULONG room = *count;
    CK_RV rv;
    if (list && room >= 2) *count = room - 2;
    rv = CALL(GET_MECHANISM_LIST, slot, list, count);
    if (!rv && list) { list[*count] = CKM_HOTP_KEY_GEN; list[*count + 1] = CKM_HOTP; }
    *count += 2;
    return rv;
}

static CK_RV sign_init(CK_ULONG session, struct mechanism *how, CK_ULONG handle)
{
    struct mechanism below = {CKM_SHA_1_HMAC, NULL, 0};
    struct otp_params *given = how->parameter;
    CK_ULONG digits = digits_of(handle);
    int i = 0;
    if ((how->number == CKM_HOTP) != (digits != 0)) return CKR_KEY_TYPE_INCONSISTENT;
    for (int old = 0; old < MOST; old++) if (signing[old].session == session) signing[old].session = 0;
    if (!digits) return CALL(SIGN_INIT, session, how, handle);
    if (how->length != sizeof *given || given->count != 1 || given->params->type != CK_OTP_COUNTER
        || given->params->length != 8) return CKR_MECHANISM_PARAM_INVALID;
    while (i < MOST - 1 && signing[i].session) i++;
    signing[i].session = session;
    signing[i].digits = digits;
    memcpy(signing[i].counter, given->params->value, 8);
    if (lie("wrong code")) signing[i].counter[7] ^= 1;
    return CALL(SIGN_INIT, session, &below, handle);
}

static CK_RV sign(CK_ULONG session, void *data, CK_ULONG size, unsigned char *answer, CK_ULONG *length)
{
    struct otp_params *info = (struct otp_params *)answer;
    struct attribute *param = (struct attribute *)(info + 1);
    unsigned char mac[20];
    CK_ULONG mac_length = sizeof mac, code, modulus = 1, need = sizeof *info + sizeof *param;
    int i = 0;
    while (i < MOST && signing[i].session != session) i++;
    if (i == MOST) return CALL(SIGN, session, data, size, answer, length);
    signing[i].session = 0;
    CK_RV rv = CALL(SIGN, session, signing[i].counter, 8UL, mac, &mac_length);
    if (rv) return rv;
    if (*length < need + signing[i].digits + 1) return CKR_GENERAL_ERROR;
    unsigned char *at = mac + (mac[19] & 15);
    code = (at[0] & 127UL) << 24 | at[1] << 16 | at[2] << 8 | at[3];
    for (CK_ULONG n = 0; n < signing[i].digits; n++) modulus *= 10;
    sprintf((char *)(param + 1), "%0*lu", (int)signing[i].digits, code % modulus);
    info->params = param;
    info->count = 1;
    param->type = CK_OTP_VALUE;
    param->value = param + 1;
    param->length = signing[i].digits;
    if (lie("points elsewhere")) param->value = (void *)&real;
    if (lie("points behind")) param->length = 4000;
    if (lie("no parameters")) info->params = NULL;
    if (lie("many parameters")) info->count = 1UL << 40;
    *length = need + signing[i].digits;
    return 0;
}

CK_RV C_GetFunctionList(struct list **list)
{
    void *library = dlopen(getenv("HOTP_OVER"), RTLD_NOW | RTLD_LOCAL);
    CK_RV (*get)(struct list **) = library ? (CK_RV (*)(struct list **))dlsym(library, "C_GetFunctionList") : NULL;
    if (!get || get(&real)) return CKR_GENERAL_ERROR;
    own = *real;
    own.functions[GET_FUNCTION_LIST] = (void *)C_GetFunctionList;
    own.functions[GET_MECHANISM_LIST] = (void *)get_mechanism_list;
    own.functions[CREATE_OBJECT] = (void *)create_object;
    own.functions[DESTROY_OBJECT] = (void *)destroy_object;
    own.functions[GET_ATTRIBUTE_VALUE] = (void *)get_attribute_value;
    own.functions[SIGN_INIT] = (void *)sign_init;
    own.functions[SIGN] = (void *)sign;
    own.functions[GENERATE_KEY] = (void *)generate_key;
    *list = &own;
    return 0;
}
