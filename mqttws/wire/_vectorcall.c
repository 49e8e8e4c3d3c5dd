/* Lets a compiled packet class be called by the vectorcall protocol (PEP 590).
 *
 * A class made by mypyc is called through tp_new and tp_init, which take a tuple and, for keywords,
 * a dict, made for each call. install(type, function) sets the type's tp_vectorcall instead:
 * - with a function that returns an instance, the call is passed on to it as it came;
 * - with None, an instance is made and the type's own __init__, a Python function, is called on it.
 * Only types that cannot be subclassed may be installed: the slot is not inherited.
 */
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#define LARGEST_CALL 16 /* arguments, keywords included */

#define EACH_PLACE(X) \
    X(0) X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8) X(9) X(10) X(11) X(12) X(13) X(14) X(15)
#define PLACES 16

static PyObject *function_of[PLACES]; /* what a type's call goes to */
static PyObject *no_arguments;
static Py_ssize_t used;

static PyObject *make(PyObject *type, PyObject *init, PyObject *const *args, size_t nargsf,
                      PyObject *kwnames)
{
    Py_ssize_t given = PyVectorcall_NARGS(nargsf);
    Py_ssize_t all = given + (kwnames == NULL ? 0 : PyTuple_GET_SIZE(kwnames));
    PyObject *with_self[LARGEST_CALL + 1], *self, *result;
    if (all > LARGEST_CALL) {
        PyErr_Format(PyExc_TypeError, "%s() takes at most %d arguments (%zd given)",
                     ((PyTypeObject *)type)->tp_name, LARGEST_CALL, all);
        return NULL;
    }
    self = ((PyTypeObject *)type)->tp_new((PyTypeObject *)type, no_arguments, NULL);
    if (self == NULL)
        return NULL;
    with_self[0] = self;
    for (Py_ssize_t i = 0; i < all; i++)
        with_self[i + 1] = args[i];
    result = PyObject_Vectorcall(init, with_self, given + 1, kwnames);
    if (result == NULL) {
        Py_DECREF(self);
        return NULL;
    }
    Py_DECREF(result);
    return self;
}

#define CALLS(n)                                                                                  \
    static PyObject *call_##n(PyObject *type, PyObject *const *args, size_t nargsf,               \
                              PyObject *kwnames)                                                  \
    {                                                                                             \
        return PyObject_Vectorcall(function_of[n], args, nargsf, kwnames);                        \
    }                                                                                             \
    static PyObject *make_##n(PyObject *type, PyObject *const *args, size_t nargsf,               \
                              PyObject *kwnames)                                                  \
    {                                                                                             \
        return make(type, function_of[n], args, nargsf, kwnames);                                 \
    }
EACH_PLACE(CALLS)

#define NAME_CALL(n) call_##n,
#define NAME_MAKE(n) make_##n,
static const vectorcallfunc calls[PLACES] = {EACH_PLACE(NAME_CALL)};
static const vectorcallfunc makes[PLACES] = {EACH_PLACE(NAME_MAKE)};

static PyObject *install(PyObject *module, PyObject *args)
{
    PyTypeObject *type;
    PyObject *function;
    if (!PyArg_ParseTuple(args, "O!O", &PyType_Type, &type, &function))
        return NULL;
    if (used == PLACES) {
        PyErr_SetString(PyExc_RuntimeError, "all places are taken");
        return NULL;
    }
    if (function == Py_None) {
        function = PyObject_GetAttrString((PyObject *)type, "__init__");
        if (function == NULL)
            return NULL;
        function_of[used] = function;
        type->tp_vectorcall = makes[used];
    } else {
        Py_INCREF(function);
        function_of[used] = function;
        type->tp_vectorcall = calls[used];
    }
    used++;
    Py_RETURN_NONE;
}

static PyMethodDef methods[] = {
    {"install", install, METH_VARARGS, "install(type, function): see the head of _vectorcall.c"},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, "_vectorcall", "Calls of compiled packet classes by vectorcall.", -1,
    methods,
};

PyMODINIT_FUNC PyInit__vectorcall(void)
{
    no_arguments = PyTuple_New(0);
    return no_arguments == NULL ? NULL : PyModule_Create(&definition);
}
