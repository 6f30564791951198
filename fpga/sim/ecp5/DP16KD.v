// SPDX-License-Identifier: Apache-2.0
//
// ECP5's block RAM as Yosys uses it, for simulating netlists: two ports of 1 to 18 bits, or port A
// for writing and port B for reading where one of them has 36. Any other way of using it does not
// elaborate.
//
// The memory is 2048 bytes of 9 bits. An address counts bits, 8 to a byte; a port narrower than a
// byte cannot reach the ninth. A port that reads what the other writes at that moment gets the
// inverse of what stood there, which nothing must count on.

`default_nettype none

module DP16KD #(
    parameter [319:0] INITVAL_00 = 0, parameter [319:0] INITVAL_01 = 0,
    parameter [319:0] INITVAL_02 = 0, parameter [319:0] INITVAL_03 = 0,
    parameter [319:0] INITVAL_04 = 0, parameter [319:0] INITVAL_05 = 0,
    parameter [319:0] INITVAL_06 = 0, parameter [319:0] INITVAL_07 = 0,
    parameter [319:0] INITVAL_08 = 0, parameter [319:0] INITVAL_09 = 0,
    parameter [319:0] INITVAL_0A = 0, parameter [319:0] INITVAL_0B = 0,
    parameter [319:0] INITVAL_0C = 0, parameter [319:0] INITVAL_0D = 0,
    parameter [319:0] INITVAL_0E = 0, parameter [319:0] INITVAL_0F = 0,
    parameter [319:0] INITVAL_10 = 0, parameter [319:0] INITVAL_11 = 0,
    parameter [319:0] INITVAL_12 = 0, parameter [319:0] INITVAL_13 = 0,
    parameter [319:0] INITVAL_14 = 0, parameter [319:0] INITVAL_15 = 0,
    parameter [319:0] INITVAL_16 = 0, parameter [319:0] INITVAL_17 = 0,
    parameter [319:0] INITVAL_18 = 0, parameter [319:0] INITVAL_19 = 0,
    parameter [319:0] INITVAL_1A = 0, parameter [319:0] INITVAL_1B = 0,
    parameter [319:0] INITVAL_1C = 0, parameter [319:0] INITVAL_1D = 0,
    parameter [319:0] INITVAL_1E = 0, parameter [319:0] INITVAL_1F = 0,
    parameter [319:0] INITVAL_20 = 0, parameter [319:0] INITVAL_21 = 0,
    parameter [319:0] INITVAL_22 = 0, parameter [319:0] INITVAL_23 = 0,
    parameter [319:0] INITVAL_24 = 0, parameter [319:0] INITVAL_25 = 0,
    parameter [319:0] INITVAL_26 = 0, parameter [319:0] INITVAL_27 = 0,
    parameter [319:0] INITVAL_28 = 0, parameter [319:0] INITVAL_29 = 0,
    parameter [319:0] INITVAL_2A = 0, parameter [319:0] INITVAL_2B = 0,
    parameter [319:0] INITVAL_2C = 0, parameter [319:0] INITVAL_2D = 0,
    parameter [319:0] INITVAL_2E = 0, parameter [319:0] INITVAL_2F = 0,
    parameter [319:0] INITVAL_30 = 0, parameter [319:0] INITVAL_31 = 0,
    parameter [319:0] INITVAL_32 = 0, parameter [319:0] INITVAL_33 = 0,
    parameter [319:0] INITVAL_34 = 0, parameter [319:0] INITVAL_35 = 0,
    parameter [319:0] INITVAL_36 = 0, parameter [319:0] INITVAL_37 = 0,
    parameter [319:0] INITVAL_38 = 0, parameter [319:0] INITVAL_39 = 0,
    parameter [319:0] INITVAL_3A = 0, parameter [319:0] INITVAL_3B = 0,
    parameter [319:0] INITVAL_3C = 0, parameter [319:0] INITVAL_3D = 0,
    parameter [319:0] INITVAL_3E = 0, parameter [319:0] INITVAL_3F = 0,
    parameter integer DATA_WIDTH_A = 18,
    parameter integer DATA_WIDTH_B = 18,
    parameter REGMODE_A = "NOREG",
    parameter REGMODE_B = "NOREG",
    parameter RESETMODE = "SYNC",
    parameter ASYNC_RESET_RELEASE = "SYNC",
    parameter CSDECODE_A = "0b000",
    parameter CSDECODE_B = "0b000",
    parameter CLKAMUX = "CLKA",
    parameter CLKBMUX = "CLKB",
    parameter WRITEMODE_A = "NORMAL",
    parameter WRITEMODE_B = "NORMAL",
    parameter GSR = "AUTO"
) (
    input wire CLKA, CEA, WEA, OCEA, RSTA, CSA0, CSA1, CSA2,
    input wire CLKB, CEB, WEB, OCEB, RSTB, CSB0, CSB1, CSB2,
    input wire
    ADA0, ADA1, ADA2, ADA3, ADA4, ADA5, ADA6, ADA7, ADA8, ADA9, ADA10, ADA11, ADA12, ADA13,
    input wire
    ADB0, ADB1, ADB2, ADB3, ADB4, ADB5, ADB6, ADB7, ADB8, ADB9, ADB10, ADB11, ADB12, ADB13,
    input wire
    DIA0, DIA1, DIA2, DIA3, DIA4, DIA5, DIA6, DIA7, DIA8, DIA9, DIA10, DIA11, DIA12, DIA13,
    DIA14, DIA15, DIA16, DIA17,
    input wire
    DIB0, DIB1, DIB2, DIB3, DIB4, DIB5, DIB6, DIB7, DIB8, DIB9, DIB10, DIB11, DIB12, DIB13,
    DIB14, DIB15, DIB16, DIB17,
    output wire
    DOA0, DOA1, DOA2, DOA3, DOA4, DOA5, DOA6, DOA7, DOA8, DOA9, DOA10, DOA11, DOA12, DOA13,
    DOA14, DOA15, DOA16, DOA17,
    output wire
    DOB0, DOB1, DOB2, DOB3, DOB4, DOB5, DOB6, DOB7, DOB8, DOB9, DOB10, DOB11, DOB12, DOB13,
    DOB14, DOB15, DOB16, DOB17
);

    // Where one port has 36 bits the other's data pins are its upper half.
    localparam WIDE = DATA_WIDTH_A == 36 || DATA_WIDTH_B == 36;

    wire [13:0] a = {
        ADA13, ADA12, ADA11, ADA10, ADA9, ADA8, ADA7, ADA6, ADA5, ADA4, ADA3, ADA2, ADA1, ADA0
    };
    wire [13:0] b = {
        ADB13, ADB12, ADB11, ADB10, ADB9, ADB8, ADB7, ADB6, ADB5, ADB4, ADB3, ADB2, ADB1, ADB0
    };
    wire [17:0] dia = {
        DIA17, DIA16, DIA15, DIA14, DIA13, DIA12, DIA11, DIA10, DIA9, DIA8, DIA7, DIA6, DIA5,
        DIA4, DIA3, DIA2, DIA1, DIA0
    };
    wire [17:0] dib = {
        DIB17, DIB16, DIB15, DIB14, DIB13, DIB12, DIB11, DIB10, DIB9, DIB8, DIB7, DIB6, DIB5,
        DIB4, DIB3, DIB2, DIB1, DIB0
    };

    reg [8:0]  bytes [0:2047];
    reg [35:0] a_reg = 0;
    reg [35:0] b_reg = 0;

    // Sixteen words of 18 bits, two bytes each, in every 20 bits of a parameter.
    wire [64*320-1:0] init = {
        INITVAL_3F, INITVAL_3E, INITVAL_3D, INITVAL_3C, INITVAL_3B, INITVAL_3A, INITVAL_39,
        INITVAL_38, INITVAL_37, INITVAL_36, INITVAL_35, INITVAL_34, INITVAL_33, INITVAL_32,
        INITVAL_31, INITVAL_30, INITVAL_2F, INITVAL_2E, INITVAL_2D, INITVAL_2C, INITVAL_2B,
        INITVAL_2A, INITVAL_29, INITVAL_28, INITVAL_27, INITVAL_26, INITVAL_25, INITVAL_24,
        INITVAL_23, INITVAL_22, INITVAL_21, INITVAL_20, INITVAL_1F, INITVAL_1E, INITVAL_1D,
        INITVAL_1C, INITVAL_1B, INITVAL_1A, INITVAL_19, INITVAL_18, INITVAL_17, INITVAL_16,
        INITVAL_15, INITVAL_14, INITVAL_13, INITVAL_12, INITVAL_11, INITVAL_10, INITVAL_0F,
        INITVAL_0E, INITVAL_0D, INITVAL_0C, INITVAL_0B, INITVAL_0A, INITVAL_09, INITVAL_08,
        INITVAL_07, INITVAL_06, INITVAL_05, INITVAL_04, INITVAL_03, INITVAL_02, INITVAL_01,
        INITVAL_00
    };
    integer i;
    initial
        for (i = 0; i < 2048; i = i + 1)
            bytes[i] = init[20*(i/2) + 9*(i%2) +: 9];

    // Bytes of a port at an address, from the first on; those beyond its width are of no account.
    function [10:0] first;
        input integer width;
        input [13:0]  address;
        first = (width == 36) ? {address[13:5], 2'b0} : (width == 18) ? {address[13:4], 1'b0}
              : address[13:3];
    endfunction

    function integer count;
        input integer width;
        count = (width == 36) ? 4 : (width == 18) ? 2 : 1;
    endfunction

    // A wide port enables its bytes one by one, with its lowest address pins.
    function [3:0] enabled;
        input integer width;
        input [13:0]  address;
        enabled = (width == 36) ? address[3:0] : (width == 18) ? {2'b0, address[1:0]} : 4'b0001;
    endfunction

    function [8:0] merged;  // a byte with what a port writes into it
        input integer width;
        input [13:0]  address;
        input [8:0]   old;
        input [8:0]   data;
        begin
            merged = old;
            case (width)
                1: merged[address[2:0]] = data[0];
                2: merged[{address[2:1], 1'b0} +: 2] = data[1:0];
                4: merged[{address[2], 2'b0} +: 4] = data[3:0];
                default: merged = data;
            endcase
        end
    endfunction

    function [35:0] selected;  // what a port gives of four bytes
        input integer width;
        input [13:0]  address;
        input [35:0]  data;
        case (width)
            1: selected = data[address[2:0] +: 1];
            2: selected = data[{address[2:1], 1'b0} +: 2];
            4: selected = data[{address[2], 2'b0} +: 4];
            default: selected = data;
        endcase
    endfunction

    wire        write_a = CEA && WEA && enabled(DATA_WIDTH_A, a) != 0;
    wire        write_b = CEB && WEB && enabled(DATA_WIDTH_B, b) != 0;
    wire [10:0] byte_a  = first(DATA_WIDTH_A, a);
    wire [10:0] byte_b  = first(DATA_WIDTH_B, b);
    wire [35:0] data_a  = WIDE ? {dib, dia} : {18'b0, dia};
    wire [35:0] data_b  = {18'b0, dib};
    reg  [35:0] old_a, old_b, new_a, new_b;
    integer     k, l;

    // Whether any byte of a port is being written through the other one.
    wire clash = byte_a < byte_b + count(DATA_WIDTH_B) && byte_b < byte_a + count(DATA_WIDTH_A);

    always @(posedge CLKA) begin
        for (k = 0; k < 4; k = k + 1) begin
            old_a[9*k +: 9] = bytes[byte_a + k[10:0]];
            new_a[9*k +: 9] = merged(DATA_WIDTH_A, a, old_a[9*k +: 9], data_a[9*k +: 9]);
        end
        for (k = 0; k < count(DATA_WIDTH_A); k = k + 1)
            if (write_a && enabled(DATA_WIDTH_A, a) >> k & 1'b1)
                bytes[byte_a + k[10:0]] <= new_a[9*k +: 9];
        if (RSTA)
            a_reg <= 0;
        else if (CEA && !(WEA && WRITEMODE_A == "NORMAL"))
            a_reg <= selected(DATA_WIDTH_A, a, (WEA && WRITEMODE_A == "WRITETHROUGH") ? new_a
                     : old_a ^ {36{write_b && clash}});
    end

    always @(posedge CLKB) begin
        for (l = 0; l < 4; l = l + 1) begin
            old_b[9*l +: 9] = bytes[byte_b + l[10:0]];
            new_b[9*l +: 9] = merged(DATA_WIDTH_B, b, old_b[9*l +: 9], data_b[9*l +: 9]);
        end
        for (l = 0; l < count(DATA_WIDTH_B); l = l + 1)
            if (write_b && enabled(DATA_WIDTH_B, b) >> l & 1'b1)
                bytes[byte_b + l[10:0]] <= new_b[9*l +: 9];
        if (RSTB)
            b_reg <= 0;
        else if (CEB && !(WEB && WRITEMODE_B == "NORMAL"))
            b_reg <= selected(DATA_WIDTH_B, b, (WEB && WRITEMODE_B == "WRITETHROUGH") ? new_b
                     : old_b ^ {36{write_a && clash}});
    end

    wire [17:0] doa = (DATA_WIDTH_B == 36) ? b_reg[17:0] : a_reg[17:0];
    wire [17:0] dob = (DATA_WIDTH_B == 36) ? b_reg[35:18] : b_reg[17:0];
    assign {
        DOA17, DOA16, DOA15, DOA14, DOA13, DOA12, DOA11, DOA10, DOA9, DOA8, DOA7, DOA6, DOA5,
        DOA4, DOA3, DOA2, DOA1, DOA0
    } = doa;
    assign {
        DOB17, DOB16, DOB15, DOB14, DOB13, DOB12, DOB11, DOB10, DOB9, DOB8, DOB7, DOB6, DOB5,
        DOB4, DOB3, DOB2, DOB1, DOB0
    } = dob;

    // Without a reset Yosys leaves the mode of the reset at ASYNC.
    generate
        if (RESETMODE != "SYNC") begin : gen_no_reset
            always @(posedge RSTA or posedge RSTB) begin
                $display("DP16KD: an asynchronous reset, which this model lacks");
                $finish;
            end
        end
        if (REGMODE_A != "NOREG" || REGMODE_B != "NOREG" || CSDECODE_A != "0b000"
                || CSDECODE_B != "0b000" || CLKAMUX != "CLKA"
                || CLKBMUX != "CLKB") begin : gen_unknown
            error_DP16KD_in_a_mode_that_this_model_lacks error();
        end
    endgenerate

endmodule

`default_nettype wire
