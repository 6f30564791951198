// SPDX-License-Identifier: Apache-2.0
//
// The largest value or the sum of each window, for windows that do not overlap. It keeps the result
// so far of each window of a row, where sliding_window keeps pixels, so it needs one comparison or
// addition a lane and little memory, however large the windows.
//
//   y[c] = max or sum over ky, kx of x[c][KERNEL_H*row + ky][KERNEL_W*col + kx]
//
// Streams are in raster order, channel fastest, LANES channels a beat in and out; a position takes
// ceil(CHANNELS / LANES) beats. Rows and columns that are left over are dropped.
// Takes a beat every clock, unless a result waits. Latency: 2 clocks from the last beat of a window
// to its result (`running_process` in model/hardware/layers/window.py).

`default_nettype none

module running_pool #(
    parameter HEIGHT   = 28,
    parameter WIDTH    = 28,
    parameter CHANNELS = 3,
    parameter KERNEL_H = 2,         // rows of a window, and as many from window to window
    parameter KERNEL_W = 2,         // columns, likewise
    parameter LANES    = CHANNELS,  // channels a beat
    parameter SUM      = 0,         // 0: the largest value, 1: the sum
    parameter RESULT   = (SUM != 0) ? 8 + $clog2(KERNEL_H*KERNEL_W) : 8  // bits of it
) (
    input  wire                    clk,
    input  wire                    rst,
    input  wire [8*LANES-1:0]      s_axis_tdata,
    input  wire                    s_axis_tvalid,
    output wire                    s_axis_tready,
    output wire [RESULT*LANES-1:0] m_result,
    output wire                    m_result_last,
    output wire                    m_result_valid,
    input  wire                    m_result_ready
);

    function integer index_width;  // bits of a number from 0 to n - 1
        input integer n;
        index_width = (n > 1) ? $clog2(n) : 1;
    endfunction

    // What is left over counts as windows too, which never complete.
    localparam COLS        = (WIDTH + KERNEL_W - 1) / KERNEL_W;
    localparam ROWS        = (HEIGHT + KERNEL_H - 1) / KERNEL_H;
    localparam GROUPS      = (CHANNELS + LANES - 1) / LANES;
    localparam COL_WIDTH   = index_width(COLS);
    localparam ROW_WIDTH   = index_width(ROWS);
    localparam GROUP_WIDTH = index_width(GROUPS);
    localparam KX_WIDTH    = index_width(KERNEL_W);
    localparam KY_WIDTH    = index_width(KERNEL_H);

    localparam COL_LAST  = COLS - 1;
    localparam ROW_LAST  = ROWS - 1;
    localparam KX_LAST   = KERNEL_W - 1;
    localparam KY_LAST   = KERNEL_H - 1;
    localparam COL_FINAL = WIDTH / KERNEL_W - 1;   // of the complete ones
    localparam ROW_FINAL = HEIGHT / KERNEL_H - 1;
    localparam KX_FINAL  = (WIDTH - 1) % KERNEL_W;  // of a row's last pixel
    localparam KY_FINAL  = (HEIGHT - 1) % KERNEL_H;
    localparam [GROUP_WIDTH-1:0] GROUP_LAST = GROUPS[GROUP_WIDTH-1:0] - 1'b1;

    // Where the next beat belongs.
    reg  [GROUP_WIDTH-1:0] group_reg = 0;
    reg  [KX_WIDTH-1:0]    kx_reg    = 0;
    reg  [KY_WIDTH-1:0]    ky_reg    = 0;
    reg  [COL_WIDTH-1:0]   col_reg   = 0;
    reg  [ROW_WIDTH-1:0]   row_reg   = 0;

    wire kx_last   = kx_reg == KX_LAST[KX_WIDTH-1:0];
    wire ky_last   = ky_reg == KY_LAST[KY_WIDTH-1:0];
    wire pixel_end = group_reg == GROUP_LAST;
    wire row_end   = col_reg == COL_LAST[COL_WIDTH-1:0] && kx_reg == KX_FINAL[KX_WIDTH-1:0];
    wire image_end = row_reg == ROW_LAST[ROW_WIDTH-1:0] && ky_reg == KY_FINAL[KY_WIDTH-1:0];

    // The pipeline moves or holds as one. It holds while a result waits.
    reg  complete_reg = 1'b0;
    wire enable       = !complete_reg || m_result_ready;
    wire beat         = enable && s_axis_tvalid;

    assign s_axis_tready = enable;

    always @(posedge clk) begin
        if (beat) begin
            group_reg <= pixel_end ? {GROUP_WIDTH{1'b0}} : group_reg + 1'b1;
            if (pixel_end) begin
                kx_reg <= (kx_last || row_end) ? {KX_WIDTH{1'b0}} : kx_reg + 1'b1;
                if (row_end) begin
                    col_reg <= 0;
                    ky_reg  <= (ky_last || image_end) ? {KY_WIDTH{1'b0}} : ky_reg + 1'b1;
                    if (image_end)
                        row_reg <= 0;
                    else if (ky_last)
                        row_reg <= row_reg + 1'b1;
                end else if (kx_last) begin
                    col_reg <= col_reg + 1'b1;
                end
            end
        end
        if (rst) begin
            group_reg <= 0;
            kx_reg    <= 0;
            ky_reg    <= 0;
            col_reg   <= 0;
            row_reg   <= 0;
        end
    end

    // A beat, and a clock after it the result that its window has so far.
    reg                     valid_reg = 1'b0;
    reg                     first_reg, final_reg, last_reg;
    reg  [8*LANES-1:0]      x_reg;
    reg  [RESULT*LANES-1:0] result_reg;
    reg                     complete_last_reg;
    wire [8*LANES-1:0]      channels;
    wire [RESULT*LANES-1:0] previous, result;

    assign m_result       = result_reg;
    assign m_result_last  = complete_last_reg;
    assign m_result_valid = complete_reg;

    always @(posedge clk) begin
        if (beat) begin
            x_reg     <= channels;
            first_reg <= kx_reg == 0 && ky_reg == 0;
            final_reg <= kx_last && ky_last;
            last_reg  <= row_reg == ROW_FINAL[ROW_WIDTH-1:0] && col_reg == COL_FINAL[COL_WIDTH-1:0]
                         && pixel_end;
        end
        if (enable) begin
            valid_reg         <= s_axis_tvalid;
            complete_reg      <= valid_reg && final_reg;
            complete_last_reg <= last_reg;
            if (valid_reg)
                result_reg <= result;
        end
        if (rst) begin
            valid_reg    <= 1'b0;
            complete_reg <= 1'b0;
        end
    end

    genvar lane;
    generate
        for (lane = 0; lane < LANES; lane = lane + 1) begin : gen_lane
            // Lanes beyond the last channel hold anything, and come out as zeros.
            localparam SPARE = (GROUPS - 1)*LANES + lane >= CHANNELS;
            assign channels[8*lane +: 8] = (SPARE && pixel_end) ? 8'd0 : s_axis_tdata[8*lane +: 8];

            wire [7:0]        x     = x_reg[8*lane +: 8];
            wire [RESULT-1:0] so_far = previous[RESULT*lane +: RESULT];
            if (SUM == 0) begin : gen_max
                assign result[8*lane +: 8] = (first_reg || x > so_far) ? x : so_far;
            end else if (RESULT == 8) begin : gen_copy
                wire unused = &{1'b0, so_far, first_reg};
                assign result[8*lane +: 8] = x;
            end else begin : gen_sum
                assign result[RESULT*lane +: RESULT] =
                    (first_reg ? {RESULT{1'b0}} : so_far) + {{(RESULT-8){1'b0}}, x};
            end
        end
    endgenerate

    // What each window of the row has so far; of a single one, it is that of the beat before.
    generate
        if (COLS > 1 || GROUPS > 1) begin : gen_windows
            localparam ADDR_WIDTH = ((COLS > 1) ? COL_WIDTH : 0) + ((GROUPS > 1) ? GROUP_WIDTH : 0);

            reg                     again_reg;
            reg  [ADDR_WIDTH-1:0]   addr_reg;
            wire [ADDR_WIDTH-1:0]   addr;
            wire [RESULT*LANES-1:0] stored;

            if (GROUPS == 1) begin : gen_col
                assign addr = col_reg;
            end else if (COLS == 1) begin : gen_group
                assign addr = group_reg;
            end else begin : gen_both
                assign addr = {col_reg, group_reg};
            end

            line_memory #(
                .WIDTH(RESULT*LANES), .DEPTH(1 << ADDR_WIDTH)
            ) results (
                .clk(clk),
                .write(enable && valid_reg), .write_addr(addr_reg), .write_data(result),
                .read(beat), .read_addr(addr), .read_data(stored)
            );

            always @(posedge clk)
                if (beat) begin
                    addr_reg  <= addr;
                    // The beat before was of the same window, so its result is not in memory yet.
                    again_reg <= addr == addr_reg;
                end

            assign previous = again_reg ? result_reg : stored;
        end else begin : gen_window
            assign previous = result_reg;
        end
    endgenerate

endmodule

`default_nettype wire
